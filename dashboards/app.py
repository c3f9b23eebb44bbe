"""The door of the dashboard: `streamlit run dashboards/app.py -- recsys.toml`."""

import streamlit as st

from dashboards.project import STYLE
from recsys.errors import RecsysError

st.set_page_config(page_title="recsys", page_icon=":material/recommend:", layout="wide")
st.html(STYLE)
page = st.navigation(
    [
        st.Page("users.py", title="Users", icon=":material/person_search:", default=True),
        st.Page("verdict.py", title="Verdict", icon=":material/monitoring:"),
    ],
    position="top",
)
try:
    page.run()
except RecsysError as error:
    st.error(str(error))
