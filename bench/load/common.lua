-- The end of every load script: one machine-readable line after a run. Latencies in milliseconds.
function done(s, l, r)
  local e = s.errors
  io.write(string.format(
    '@@{"requests":%d,"secs":%.4f,"p50":%.4f,"p99":%.4f,"p999":%.4f,"bad":%d,"broken":%d,"bytes":%d}\n',
    s.requests, s.duration / 1e6, l:percentile(50) / 1e3, l:percentile(99) / 1e3, l:percentile(99.9) / 1e3,
    e.status, e.connect + e.read + e.write + e.timeout, s.bytes))
end
