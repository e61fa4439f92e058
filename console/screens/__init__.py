"""One thin module a screen: it asks the services, hands the facts to a view and draws the result."""
