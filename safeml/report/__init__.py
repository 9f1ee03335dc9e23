"""Results drawn for people and pipelines: HTML, JUnit, Markdown. Formats and draws; computes nothing. jinja2 lives here."""
