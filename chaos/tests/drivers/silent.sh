# A driver that lives and never answers a send: the harness must not wait for it for ever, and must
# not take the blame.
ok() { echo "{\"type\":\"reply\",\"id\":$id,\"ok\":{$1}}"; }
while read -r line; do
  id=$(expr "$line" : '{"id":\([0-9]*\),')
  case $line in
    *'"op":"hello"'*)
      ok '"name":"silent","version":1,"capabilities":["open","send","metrics","close","outcomes"]' ;;
    *'"op":"send"'*) ;;
    *'"op":"bye"'*)
      ok ""
      exit 0 ;;
    *) ok "" ;;
  esac
done
