-- Turns each log into an event for the SIEM. You can edit it while the program runs: a good version takes over
-- at the next batch; a broken one is refused with file and line, and the last good one stays in use.
--
-- `log` is the flattened log, an ordered table of strings:
--
--   log.__time__        "1700000000"      unix seconds
--   log.__topic__       "audit"           "" when there is none
--   log.__source__      "10.0.0.1"
--   log["__tag__:host"] "web-1"           one for each tag of the log group
--   log.status          "200"             one for each field of the log itself
--
-- Read a field with log.name, set it with log.name = value, remove it with log.name = nil, and iterate over
-- all fields with `for key, value in pairs(log)`. A missing field is nil.
--
-- Return
--   nil                 to drop the log (it is counted as dropped),
--   a string            to send that text,
--   { event = log }     to send the log; beside `event` you can set time, host, source, sourcetype, index
--                       and fields (Splunk), or facility, severity, program, procid, msgid and
--                       structured_data (syslog); missing keys come from the settings,
--   a list of those     to send several events for one log.
--
-- An error affects one log, not the batch: that log becomes a dead letter, with the line that failed.

-- The field that contains JSON text, by topic. It is sent as an object, so that the SIEM can search it.
local JSON_FIELD = {
  actiontrail_audit_event = "event",
  actiontrail_event = "event",
}

function process(log)
  local field = JSON_FIELD[log.__topic__]
  if field then
    -- json.decode returns nil if the text is not JSON; then the text stays as it is.
    log[field] = json.decode(log[field]) or log[field]
  end

  -- The time is an attribute of the event, not a part of it.
  local time = log.__time__
  log.__time__ = nil

  return { time = time, event = log }
end
