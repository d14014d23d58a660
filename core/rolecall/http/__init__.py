"""HTTP without a framework: the requests, answers, routes and guards that every adapter translates."""
