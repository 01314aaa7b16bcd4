-- Sends ready-made requests from the file REQUESTS in turn: each is a whole HTTP/1.1 request, parted by a line "%%%%".
-- Nothing is formatted or signed while the load runs, so one thread sends more than 100,000 requests a second.
-- With PAUSE_MS each connection waits between requests (uniform 0 to 2 x PAUSE_MS): below saturation the percentiles show
-- the server's own latency, not the queue in front of it.
dofile(os.getenv("LOAD_DIR") .. "/common.lua")
local requests, count, at = {}, 0, 0

function init(args)
  local file = assert(io.open(os.getenv("REQUESTS"), "rb"))
  local text = file:read("*a")
  file:close()
  local from = 1
  while true do
    local first, last = text:find("\n%%%%\n", from, true)
    if not first then break end
    count = count + 1
    requests[count] = text:sub(from, first - 1)
    from = last + 1
  end
  assert(count > 0, "no requests in REQUESTS")
end

function request()
  at = at % count + 1
  return requests[at]
end

local pause = tonumber(os.getenv("PAUSE_MS") or "0")
if pause > 0 then
  function delay() return math.random(0, 2 * pause) end
end
