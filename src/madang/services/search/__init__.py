"""Search: what people may see of what was said, found by its words.

`query` reads what is asked, `matching` says whether and how well a message answers it, `searching`
finds a page of the best, `following` keeps the index behind the log, `rebuilding` makes it anew.
May import what services may: ports, clock, model, protocol. How text is cut is the model's
(`madang.model.analyzer`), how the index is kept the store's; no SQL here.
"""
