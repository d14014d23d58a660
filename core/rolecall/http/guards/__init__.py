"""Guards of the app's routes: what they demand, whom they admit, and the audit that finds what they leave open."""
