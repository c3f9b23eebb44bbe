"""Log-in, where the operator asked for it: Streamlit's own, by OpenID Connect, out of [auth] in a secrets.toml. See docs/dashboard.md."""

from pathlib import Path

import streamlit as st
from streamlit import config
from streamlit.errors import StreamlitAuthError

from dashboards.pieces import literal


def gate() -> None:
    """Let a reader pass: at once where no [auth] is configured, else once they have logged in."""
    if not is_configured() or st.user.is_logged_in:
        return
    st.title("recsys")
    st.caption("This dashboard asks you to log in.")
    providers = [name for name, section in st.secrets["auth"].items() if hasattr(section, "items") and name != "client_kwargs"]
    for provider in providers or [None]:
        label = "Log in" if provider is None else f"Log in with {literal(provider)}"
        if st.button(label, icon=":material/login:", type="primary"):
            _login(provider)
    st.stop()


def is_configured() -> bool:
    """Is there an [auth] in a secrets.toml. Where one cannot be read, the page says so and stops."""
    found = [Path(path) for path in config.get_option("secrets.files") if Path(path).exists()]
    if not found:
        return False
    try:
        return "auth" in st.secrets
    except Exception as error:  # whatever is wrong with the file: without it nobody knows whom to let in
        st.error(literal(f"{found[-1]}: cannot be read ({type(error).__name__}), so nobody is let in. Mend the file, or take it away."))
        st.stop()


def sign() -> None:
    """Who is logged in, and the way out; nothing where no log-in is configured."""
    if is_configured():
        with st.container(horizontal=True, horizontal_alignment="right", vertical_alignment="center"):
            st.caption(literal(st.user.get("email") or st.user.get("name") or "logged in"), width="content")
            st.button("Log out", type="tertiary", on_click=st.logout)


def _login(provider: str | None) -> None:
    try:
        st.login(provider) if provider else st.login()
    except StreamlitAuthError as error:
        st.error(literal(f"Log-in is configured and does not work: {error} Mend [auth] in secrets.toml, or install recsys[auth]."))
