import streamlit as st


def show_split(working):
    st.write("later")
