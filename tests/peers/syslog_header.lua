-- Moves the fields of a log that belong into the syslog header there, and sends the rest of the log as it is. The id also
-- goes into the structured data, where it need not be cleaned or cut.
local HEADER = { "host", "program", "procid", "msgid", "facility", "severity" }

function process(log)
  local event = {
    time = log.__time__,
    time_ns = log.__time_ns_part__,
    structured_data = { ["peer@32473"] = { id = log.id, note = log.note } },
    event = log,
  }
  log.__time__ = nil
  for _, name in ipairs(HEADER) do
    event[name] = log["header_" .. name]
    log["header_" .. name] = nil
  end
  return event
end
