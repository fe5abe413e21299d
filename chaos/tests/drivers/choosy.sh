# A driver that has every operation and does not know the settings it is opened with.
ok() { echo "{\"type\":\"reply\",\"id\":$id,\"ok\":{$1}}"; }
while read -r line; do
  id=$(expr "$line" : '{"id":\([0-9]*\),')
  case $line in
    *'"op":"hello"'*)
      ok '"name":"choosy","version":1,"capabilities":["open","send","metrics","close","outcomes"]' ;;
    *'"op":"open"'*)
      echo "{\"type\":\"reply\",\"id\":$id,\"error\":{\"code\":\"unsupported\",\"message\":\"I have no retry.max_attempts\",\"definite\":true}}" ;;
    *'"op":"bye"'*)
      ok ""
      exit 0 ;;
    *) ok "" ;;
  esac
done
