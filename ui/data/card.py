import streamlit as st


def show_card(working):
    st.write("later")
