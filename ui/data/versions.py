import streamlit as st


def show_versions(working):
    st.write("later")
