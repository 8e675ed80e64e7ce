"""What ``tradewind pack`` makes of a project: a plugins.zip and a requirements.txt that MWAA installs as they are."""
