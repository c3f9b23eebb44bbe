"""The recsys.toml that comes with the demo shop: a text, so that its comments reach the reader."""

SETTINGS = """\
# The demo shop of recsys. Every key that is not here has its default; `recsys init` and the guide show them all.
# Paths are relative to this file.

[project]
name = "demo"
seed = {seed}
task = "all"             # seen items may be recommended again: tea and candles are bought again

[items]
path = "items.csv"

[items.columns]          # our column = the shop's column, or an SQL expression over its columns
item_id = "item_id"
title = "title"
description = "description"
category = "category"
price = "price"
available_from = "available_from"
available_until = "available_until"

[events]
path = "events/*.csv.gz" # one file a day

[events.columns]
user_id = "user"
item_id = "item"
event_type = "event"
event_time = "time"
value = "value"          # what a purchase brought in
price = "price"
request_id = "request_id"  # the page an item was shown on, with its place and the probability of that
position = "position"
propensity = "propensity"

# The shop's words for what happened, what each counts in training the text model (weight), and its relevance (label).
[events.types.impression]
names = ["view"]
weight = 0.0

[events.types.click]
names = ["click"]
weight = 0.2
label = 1

[events.types.cart]
names = ["add_to_cart"]
weight = 0.5
label = 2

[events.types.purchase]
names = ["buy"]
weight = 1.0
label = 3

[events.types.return]
names = ["refund"]
weight = 0.0

[time]                   # 112 days: 70 for the text model, 3 x 7 for the ranker's folds, 7 to stop it in time, 14 for the verdict
fold_days = 7
n_folds = 3
valid_days = 7
test_days = 14

[text]
max_tokens = 48          # a title and two sentences
valid_days = 7
steps = 30               # few and small, so that the tour takes minutes on a laptop
check_steps = 10

[ranker]
pages = true             # half of each page is drawn at random, so what was chosen and ignored there is worth learning from
"""
