//! Status, stats, pins, live, history, the web pages.
