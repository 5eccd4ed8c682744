-- The names and values of a log, a table or a list of pairs: alternating, and all as strings.
local encode_json, pairs, type, tostring, float_text, number_type, getmetatable, pcall, sort = ...

local MOST = 10000

-- nil if the value is left out; false and the reason if it is invalid.
local function text_of(value)
  local kind = type(value)
  if kind == "string" then return value end
  if kind == "number" then
    if number_type(value) == "integer" then return tostring(value) end
    local digits = float_text(value)
    if digits then return digits end
    return false, tostring(value) .. " cannot be sent as a number; send it as a string"
  end
  if kind == "boolean" then return tostring(value) end
  if kind == "userdata" or kind == "nil" then return nil end
  if kind == "table" and encode_json then
    local written, text = pcall(encode_json, value)
    if written then return text end
    return false, text
  end
  return false, "a " .. kind .. " is no value"
end

local function add(list, name, value)
  local kind = type(name)
  if kind == "number" then
    name = number_type(name) == "float" and float_text(name) or tostring(name)
  elseif kind ~= "string" then
    return "a name is a string, not a " .. kind
  end
  local text, why = text_of(value)
  if text == false then return "`" .. name .. "`: " .. why end
  if text then
    if #list >= 2 * MOST then return "more than " .. MOST .. " fields" end
    list[#list + 1] = name
    list[#list + 1] = text
  end
end

return function(fields)
  local list = {}
  if fields == nil then return list end
  if type(fields) ~= "table" then return nil, "a table or a list of pairs is needed, not a " .. type(fields) end
  -- Tables of the library, such as the log, are ordered; scripts cannot see their metatables.
  if getmetatable(fields) == false then
    for name, value in pairs(fields) do
      local wrong = add(list, name, value)
      if wrong then return nil, wrong end
    end
    return list
  end
  if fields[1] ~= nil then
    for position = 1, #fields do
      local pair = fields[position]
      if type(pair) ~= "table" then return nil, "item " .. position .. " is no pair { name, value }" end
      local wrong = add(list, pair[1], pair[2])
      if wrong then return nil, wrong end
    end
    return list
  end
  local names = {}
  for name in pairs(fields) do
    if type(name) ~= "string" then return nil, "a name is a string, not a " .. type(name) end
    if #names >= MOST then return nil, "more than " .. MOST .. " fields" end
    names[#names + 1] = name
  end
  sort(names)
  for position = 1, #names do
    local wrong = add(list, names[position], fields[names[position]])
    if wrong then return nil, wrong end
  end
  return list
end
