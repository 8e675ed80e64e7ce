-- Delays by day and airport, with the weather of that day. The task runs in one transaction: a reader sees the old
-- table or the new one, never half of it.
delete from reports.daily_delays;

insert into reports.daily_delays
with flown as (
    select
        make_date(year, month, day) as day,
        origin,
        count(*) as flights,
        count(*) filter (where dep_delay is null) as cancelled,
        count(*) filter (where dep_delay >= {{ params.late_minutes }}) as delayed,
        avg(dep_delay) as dep_delay,
        avg(arr_delay) as arr_delay
    from staging.flights
    group by 1, 2
),
weather as (
    select
        make_date(year, month, day) as day,
        origin,
        avg(wind_speed) as wind_speed,
        sum(precip) as precip,
        min(visib) as visib
    from staging.weather
    group by 1, 2
)
select
    day, origin, flights, cancelled, delayed,
    round(dep_delay, 2), round(arr_delay, 2),
    round(wind_speed::numeric, 1), round(precip::numeric, 2), visib
from flown
left join weather using (day, origin)
order by day, origin;

-- The last result is the task's XCom: what the run closes with.
select count(*) as days, sum(flights) as flights, sum(cancelled) as cancelled, sum(delayed) as delayed
from reports.daily_delays;
