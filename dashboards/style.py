"""How every page looks: one style sheet for the lists, chips and facts that Streamlit has no element for, on light and on dark."""

ICON = (
    '<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 24 24" fill="#3b82f6"><rect x="3" y="4" width="18" height="4" rx="1.5"/>'
    '<rect x="3" y="10" width="13" height="4" rx="1.5"/><rect x="3" y="16" width="8" height="4" rx="1.5"/></svg>'
)
"""A ranked list. Its own, because a browser fetches Streamlit's icons of the tab from a server of fonts."""

STYLE = """<style>
.block-container {padding-top: 4rem; padding-bottom: 3rem; max-width: 1500px;}
h1 {font-size: 2rem !important; padding-bottom: .25rem !important;}
h3 {font-size: 1.2rem !important; overflow-wrap: anywhere;}
.list .row {display: grid; grid-template-columns: 2.2rem minmax(0, 1fr) auto; gap: .25rem .75rem; align-items: center;
  padding: .45rem .25rem; border-bottom: 1px solid rgba(128, 128, 128, .22);}
.list .row:last-child {border-bottom: none;}
.list .row.gone {opacity: .6;}
.list .rank {font-variant-numeric: tabular-nums; font-weight: 600; text-align: right; color: #3b82f6;}
.list .when {font-variant-numeric: tabular-nums; font-size: .84rem; opacity: .72;}
.list.dated .row {grid-template-columns: 6.4rem minmax(0, 1fr) auto;}
.list .row.check {grid-template-columns: minmax(0, 1fr);}
.list .title {font-weight: 600; line-height: 1.3; overflow-wrap: anywhere;}
.list .title a {color: inherit; text-decoration: none;}
.list .title a:hover {text-decoration: underline;}
.list .below {font-size: .84rem; opacity: .75; overflow-wrap: anywhere; margin-top: .1rem;}
.list .right {font-variant-numeric: tabular-nums; text-align: right;}
.list .right .main {font-weight: 600;}
.list .right .under {font-size: .78rem; opacity: .65;}
.chip {display: inline-block; border: 1px solid rgba(128, 128, 128, .45); border-radius: .6rem; padding: 0 .45rem; margin-right: .4rem;
  font-size: .8rem; line-height: 1.35rem;}
.chip.new, .chip.PASS {border-color: #22a06b; color: #22a06b;}
.chip.up {border-color: #3b82f6; color: #3b82f6;}
.chip.down, .chip.WARN {border-color: #d97706; color: #d97706;}
.chip.gone, .chip.FAIL {border-color: #e5484d; color: #e5484d;}
.facts {display: grid; grid-template-columns: repeat(auto-fit, minmax(9.5rem, 1fr)); gap: .75rem;}
.facts .fact {border: 1px solid rgba(128, 128, 128, .3); border-radius: .5rem; padding: .6rem .8rem; min-width: 0;}
.facts .label {font-size: .82rem; opacity: .75;}
.facts .value {font-size: 1.5rem; line-height: 1.4; font-variant-numeric: tabular-nums; overflow-wrap: anywhere;}
.facts .value.long {font-size: 1rem; line-height: 1.35rem; padding: .35rem 0;}
.facts .under {font-size: .8rem; opacity: .7; overflow-wrap: anywhere;}
@media (max-width: 640px) {
  .block-container {padding-left: 1rem; padding-right: 1rem;}
  .list.dated .row {grid-template-columns: 5.2rem minmax(0, 1fr) auto;}
  .facts .value {font-size: 1.25rem;}
  .facts .value.long {font-size: .95rem;}
}
</style>"""
