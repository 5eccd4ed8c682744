-- What becomes of each log on its way to a syslog receiver: the work of the vendor's syslog script, and a place to change it.
-- Edit it while the program runs: a good version takes over at the next batch, a broken one is refused with its file and
-- line, and the last good one stays. transform.lua beside it tells what `log` is and what may be returned.
--
-- An event for syslog is { message = … } with any of
--
--   time               unix seconds (timestamp says the same); the log's own time when absent
--   time_ns            nanoseconds beside them, as log.__time_ns_part__ has if SLS knows them
--   host               HOSTNAME (hostname says the same)
--   facility           "user", "auth", "local0", … or 0 to 23
--   severity           "info", "warning", "err", … or 0 to 7
--   program            APP-NAME in RFC 5424, TAG in RFC 3164
--   procid, msgid
--   structured_data    { ["id@32473"] = { name = "value" } }
--
-- What is absent comes from [syslog] in the settings. A message that is the log itself is written ||key=value||key=value…,
-- in the order of the log; the settings have the separator. What would be taken for one in a value is escaped, as
-- docs/syslog.md tells, unless syslog.compat asks for the bytes of the vendor's script. Any other table is written as JSON.

function process(log)
  -- The time is an attribute of the event, not a part of it.
  local time = log.__time__
  log.__time__ = nil

  -- Change facility and severity here, by what is in the log, for instance:
  --   severity = tonumber(log.status) and tonumber(log.status) >= 500 and "err" or nil,
  return { time = time, message = log }
end
