-- Puts what a log says of its syslog header into the header, and sends the rest of the log as it is. A log's id goes into
-- the structured data as well, where nothing has to be cleaned or cut.
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
