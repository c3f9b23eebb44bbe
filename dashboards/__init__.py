"""The dashboard: Streamlit pages that ask `recsys.report` and draw; they join nothing and load no model."""
