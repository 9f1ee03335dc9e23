"""Tables of settings that several rooms read, and what every table shares. Pydantic only."""
