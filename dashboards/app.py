"""The door of the dashboard: `streamlit run dashboards/app.py -- recsys.toml`."""

import streamlit as st

from dashboards import login
from dashboards.pieces import message
from dashboards.style import ICON, STYLE
from recsys.errors import RecsysError

st.set_page_config(page_title="recsys", page_icon=ICON, layout="wide")
st.html(STYLE)
login.gate()
page = st.navigation(
    [
        st.Page("users.py", title="Users", icon=":material/person_search:", default=True),
        st.Page("metrics.py", title="Metrics", icon=":material/monitoring:"),
        st.Page("compare.py", title="Compare", icon=":material/compare_arrows:"),
        st.Page("items.py", title="Items", icon=":material/category:"),
        st.Page("nights.py", title="Nights", icon=":material/bedtime:"),
        st.Page("volumes.py", title="Data", icon=":material/table_rows:", url_path="data"),
        st.Page("glossary.py", title="Glossary", icon=":material/help:"),
    ],
    position="top",
)
try:
    page.run()
except RecsysError as error:
    st.error(message(error))
login.sign()
