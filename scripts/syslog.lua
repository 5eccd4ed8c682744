-- Turns each log into an event for a syslog receiver, as the vendor's syslog script does. Change it as you need.
-- You can edit it while the program runs: a good version takes over at the next batch; a broken one is refused with file and
-- line, and the last good one stays in use. transform.lua beside it explains what `log` is and what `process` can return.
--
-- An event for syslog is { message = … } with any of these keys:
--
--   time               unix seconds (or timestamp); the log's own time when absent
--   time_ns            nanoseconds within that second; log.__time_ns_part__ has them if SLS knows them
--   host               HOSTNAME (or hostname)
--   facility           "user", "auth", "local0", … or 0 to 23
--   severity           "info", "warning", "err", … or 0 to 7
--   program            APP-NAME in RFC 5424, TAG in RFC 3164
--   procid, msgid
--   structured_data    { ["id@32473"] = { name = "value" } }
--
-- Missing keys come from [syslog] in the settings. If the message is the log itself, it is written as ||key=value||key=value…
-- in the order of the log; the settings have the separator. Separators within values are escaped (docs/syslog.md), unless
-- syslog.compat asks for the bytes of the vendor's script. Any other table is written as JSON.

function process(log)
  -- The time is an attribute of the event, not a part of it.
  local time = log.__time__
  log.__time__ = nil

  -- Set facility and severity here, depending on the log. For example:
  --   severity = tonumber(log.status) and tonumber(log.status) >= 500 and "err" or nil,
  return { time = time, message = log }
end
