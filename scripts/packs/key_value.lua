-- Sends logs as key=value text, for a SIEM that extracts fields by itself. No value can end early: values with special
-- characters are quoted, with \" \\ \n escaped, so that `x user=root` in a URL does not become a user.
--
-- The vendor's syslog script writes ||key=value without quotes. For the same bytes, return kv(log, "||") as the message.

-- New names for fields; false leaves a field out.
local RENAME = {
  ["__tag__:__hostname__"] = "host",
  ["__tag__:__receive_time__"] = false,
  __topic__ = "topic",
  __source__ = "source",
  __time__ = false,
  __time_ns_part__ = false,
}

function process(log)
  local fields = {}
  for name, text in pairs(log) do
    local shown = RENAME[name]
    if shown == nil then shown = name:gsub("^__tag__:", "") end
    if shown and text ~= "" then fields[#fields + 1] = { shown, text } end
  end
  return {
    time = log.__time__,
    time_ns = log.__time_ns_part__,
    host = log["__tag__:__hostname__"],
    message = logfmt.encode(fields),
  }
end
