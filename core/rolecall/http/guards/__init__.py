"""Guards of the app's routes: their demands, admission, and the audit that finds open routes."""
