"""What shops call things: their words for our columns and for our event types."""

NAMES: dict[str, tuple[str, ...]] = {
    "user_id": (
        "userid",
        "user",
        "customerid",
        "customer",
        "visitorid",
        "visitor",
        "clientid",
        "memberid",
        "accountid",
        "reviewerid",
        "uid",
    ),
    "item_id": ("itemid", "item", "productid", "product", "stockcode", "sku", "articleid", "article", "movieid", "asin", "contentid", "id"),
    "event_type": ("eventtype", "event", "action", "actiontype", "behavior", "behaviour", "behaviortype", "interaction", "type"),
    "event_time": ("eventtime", "timestamp", "datetime", "time", "date", "ts", "createdat", "invoicedate", "orderdate", "unixreviewtime"),
    "value": ("value", "revenue", "total", "totalprice", "amount", "linetotal", "sales"),
    "price": ("price", "unitprice", "itemprice", "listprice"),
    "request_id": ("requestid", "invoiceno", "invoice", "orderid", "basketid", "transactionid", "sessionid", "pageid"),
    "position": ("position", "slot"),
    "propensity": ("propensity",),
    "title": ("title", "name", "productname", "itemname", "productdisplayname", "text"),
    "description": ("description", "overview", "detaildesc", "body", "summary", "plot", "abstract", "text"),
    "category": ("category", "categoryname", "genre", "genres", "department", "producttype", "producttypename", "categoryid"),
    "category_path": ("categorypath", "breadcrumbs", "categories"),
    "brand": ("brand", "brandname", "maker", "manufacturer", "vendor"),
    "attributes": ("attributes", "tags", "keywords", "material"),
    "available_from": ("availablefrom", "publishedat", "releasedate", "launchdate", "onsalefrom"),
    "available_until": ("availableuntil", "availableto", "expiresat", "onsaleuntil"),
}
"""What shops call our columns: letters and digits alone, in lower case, the likeliest first."""

RATINGS = ("rating", "stars", "overall")
QUANTITIES = ("quantity", "qty")

WORDS: dict[str, tuple[str, ...]] = {
    "impression": ("impression", "impressions", "shown", "show", "display", "exposure"),
    "click": ("click", "clicks", "view", "views", "pv", "detail", "detailview", "productview", "pageview", "open", "read", "play"),
    "cart": ("cart", "addtocart", "addtobasket", "basket", "fav", "favorite", "favourite", "wishlist", "bookmark"),
    "purchase": ("purchase", "purchased", "buy", "bought", "order", "transaction", "sale", "conversion"),
    "return": ("return", "returned", "refund", "cancel", "cancelled", "dislike"),
}
"""What shops call our event types: letters and digits alone, in lower case."""

CLICKS, VIEWS = ("click", "clicks"), ("view", "views")
"""Where a shop tells clicks, its views are what was merely shown; where it does not, a view is a page that somebody opened."""
