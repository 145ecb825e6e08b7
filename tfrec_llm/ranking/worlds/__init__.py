"""Where agents are tried: small worlds with a known optimum, and the loops in which agents meet them."""
