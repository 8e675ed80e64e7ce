"""The demo: a year of flights through S3, PostgreSQL and Airflow."""
