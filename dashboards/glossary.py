"""Glossary: what each figure says, its formula, an example to check on paper, and when it misleads"""

from pathlib import Path

import streamlit as st

TEXT = Path(__file__).with_name("glossary.md")
"""A link to docs/metrics.md, so that there is one text, which the wheel holds too."""

ALL = "all of them"


def page() -> None:
    """The page."""
    head, *parts = TEXT.read_text(encoding="utf-8").split("\n### ")
    title, example, *_ = head.split("\n## ")
    sections = {name: body.split("\n## ", 1)[0] for name, body in (part.split("\n", 1) for part in parts)}
    st.title("Glossary")
    st.markdown(title.split("\n", 1)[1])
    chosen = st.selectbox("Figure", [ALL, *sections], key="figure", bind="query-params")
    with st.expander("The lists of the examples", icon=":material/table_rows:"):
        st.markdown(example.split("\n", 1)[1])
    for name, body in sections.items():
        if chosen in (ALL, name):
            st.subheader(name)
            st.markdown(body)


page()
