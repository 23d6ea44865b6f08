-- The value of the header or cookie that the route names, as `header:NAME` or `cookie:NAME` in
-- txn.name: HAProxy's own functions take only names that its configuration spells out.
core.register_fetches("value_of_name", function(txn)
  local kind, name = string.match(txn:get_var("txn.name"), "^(%a+):(.+)$")
  local value
  if kind == "cookie" then
    value = txn.f:req_cook(name)
  else
    value = txn.f:req_fhdr(name)
  end
  if value ~= "" then
    return value
  end
end)
