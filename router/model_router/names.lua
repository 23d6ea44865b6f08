-- The value of the header or cookie that the route names, as `header:NAME` or `cookie:NAME` in
-- txn.name, empty without one: HAProxy's own functions take only names that its configuration
-- spells out.
core.register_fetches("value_of_name", function(txn)
  local kind, name = string.match(txn:get_var("txn.name"), "^(%a+):(.+)$")
  if kind == "cookie" then
    return txn.sf:req_cook(name)
  end
  return txn.sf:req_fhdr(name)
end)
