-- The part of string.gmatch and string.gsub that is Lua: the iterator, and asking the function or table of a gsub, so
-- that whatever it raises passes through untouched.
--
-- All functions here answer `false, message[, argument]` for what is to be raised at the line of the script.
local native = ...
local concat, raising, sub, type = table.concat, native.raising, string.sub, type

local function gmatch(s, pattern, init)
  local text, pattern, from = native.gmatch_start(s, pattern, init)
  if not text then return text, pattern, from end
  local last

  local function captures(start, stop, ...)
    if start == false then return start, stop end
    if start then
      from, last = stop, stop
    end
    return ...
  end

  return raising(function()
    return captures(native.gmatch_next(text, pattern, from, last))
  end)
end

-- A match, and what the function or table makes of it.
local function ask(replacement, start, stop, ...)
  if not start then
    return start, stop
  elseif type(replacement) == "function" then
    return start, stop, replacement(...)
  else
    return start, stop, replacement[...]
  end
end

local function gsub(s, pattern, replacement, n)
  local kind = type(replacement)
  if kind ~= "function" and kind ~= "table" then
    return native.gsub(s, pattern, replacement, n)
  end

  local text, pattern, most = native.gsub_start(s, pattern, n)
  if not text then return text, pattern, most end
  local pieces, kept, count, last = {}, 1, 0, nil
  while count < most do
    local start, stop, value = ask(replacement, native.gsub_next(text, pattern, last, kind == "table"))
    if start == false then return start, stop end
    if not start then break end
    if value then
      if type(value) ~= "string" and type(value) ~= "number" then
        return false, "invalid replacement value (a " .. type(value) .. ")"
      end
      pieces[#pieces + 1] = sub(text, kept, start - 1)
      pieces[#pieces + 1] = value
      kept = stop + 1
    end
    count, last = count + 1, stop
  end
  pieces[#pieces + 1] = sub(text, kept)
  return concat(pieces), count
end

return gmatch, gsub
