CREATE TABLE IF NOT EXISTS shop.daily (day date PRIMARY KEY, orders bigint, amount numeric);

DELETE FROM shop.daily;

INSERT INTO shop.daily
SELECT ordered_at::date, count(*), sum(amount) FROM shop.orders GROUP BY 1;

SELECT count(*), sum(amount) FROM shop.daily;
