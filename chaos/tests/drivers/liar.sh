# A driver that says yes to everything and sends nothing: what a pipeline that loses events silently
# looks like from outside.
ok() { echo "{\"type\":\"reply\",\"id\":$id,\"ok\":{$1}}"; }
claim() { echo "{\"type\":\"claim\",\"claim\":{\"kind\":$1}}"; }
sequence=0
while read -r line; do
  id=$(expr "$line" : '{"id":\([0-9]*\),')
  case $line in
    *'"op":"hello"'*)
      ok '"name":"liar","version":1,"capabilities":["open","send","metrics","close","outcomes"]' ;;
    *'"op":"send"'*)
      event=$(expr "$line" : '.*"event":"\([0-9.]*\)"')
      sequence=$((sequence + 1))
      claim "\"accepted\",\"event\":\"$event\",\"sequence\":$sequence"
      claim "\"outcome\",\"event\":\"$event\",\"outcome\":\"acked\",\"partition\":0,\"offset\":$sequence"
      ok "\"sequence\":$sequence" ;;
    *'"op":"bye"'*)
      ok ""
      exit 0 ;;
    *) ok "" ;;
  esac
done
