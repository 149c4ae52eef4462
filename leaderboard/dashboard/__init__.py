"""The parts of the dashboard's pages.

``text``     text by strangers, made safe to show
``cached``   what the pages read from the hub, kept until it changes
``wording``  benchmarks, metrics and rows in words
``state``    the view: query parameters, session, choices of benchmark, protocol and metric
``page``     errors as one line, figures and their tables
``charts/``  figures and pictures, a module per family; they read no hub and draw on no page
``panels/``  sections that pages consist of
``views/``   what differs between target kinds, a module per kind
"""
