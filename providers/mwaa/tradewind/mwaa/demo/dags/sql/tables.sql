-- The tables of the warehouse. "if not exists" lets every run begin here.
create schema if not exists staging;
create schema if not exists reports;

create table if not exists staging.flights (
    year smallint not null,
    month smallint not null,
    day smallint not null,
    dep_time smallint,          -- local time as hmm, null: cancelled
    sched_dep_time smallint not null,
    dep_delay smallint,         -- minutes, negative: early
    arr_time smallint,
    sched_arr_time smallint not null,
    arr_delay smallint,
    carrier text not null,
    flight integer not null,
    tailnum text,
    origin text not null,
    dest text not null,
    air_time smallint,          -- minutes
    distance smallint not null, -- miles
    hour smallint not null,
    minute smallint not null,
    time_hour timestamptz not null,
    primary key (carrier, flight, time_hour)
);

create table if not exists staging.weather (
    origin text not null,
    year smallint not null,
    month smallint not null,
    day smallint not null,
    hour smallint not null,
    temp double precision,       -- degrees Fahrenheit
    dewp double precision,
    humid double precision,      -- percent
    wind_dir smallint,           -- degrees
    wind_speed double precision, -- miles an hour
    wind_gust double precision,
    precip double precision,     -- inches
    pressure double precision,   -- millibars
    visib double precision,      -- miles
    time_hour timestamptz not null,
    primary key (origin, time_hour)
);

create table if not exists staging.planes (
    tailnum text primary key,
    year smallint,
    type text,
    manufacturer text,
    model text,
    engines smallint,
    seats smallint,
    speed smallint,
    engine text
);

create table if not exists staging.airports (
    faa text primary key,
    name text not null,
    lat double precision not null,
    lon double precision not null,
    alt integer,                -- feet
    tz smallint,                -- hours from UTC
    dst text,
    tzone text
);

create table if not exists staging.airlines (
    carrier text primary key,
    name text not null
);

create table if not exists reports.daily_delays (
    day date not null,
    origin text not null,
    flights integer not null,
    cancelled integer not null,
    delayed integer not null,    -- left at least {{ params.late_minutes }} minutes behind schedule
    dep_delay double precision,  -- mean, minutes
    arr_delay double precision,  -- mean, minutes
    wind_speed double precision, -- mean, miles an hour
    precip double precision,     -- sum, inches
    visib double precision,      -- lowest, miles
    primary key (day, origin)
);
