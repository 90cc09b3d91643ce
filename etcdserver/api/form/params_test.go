package form

import (
	"errors"
	"net/url"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"canopy/store"
)

// parseText parses a form body and then a query, as for a request of this method.
func parseText(method, body, query string) (Params, error) {
	var f Fields
	if err := Scan(&f, []byte(body)); err != nil {
		return Params{}, &store.Error{Code: store.CodeInvalidForm, Cause: err.Error()}
	}
	if err := Scan(&f, query); err != nil {
		return Params{}, &store.Error{Code: store.CodeInvalidForm, Cause: err.Error()}
	}
	return f.Parse(method)
}

func TestFieldsAreTakenAsSent(t *testing.T) {
	for _, c := range []struct {
		rule        string
		body, query string
		want        Params
	}{
		{"K10 the body comes first", "value=body", "value=query", Params{Value: "body"}},
		{"K10 the first of several counts", "", "value=a&value=b", Params{Value: "a"}},
		{"K13 names are case-sensitive", "Value=x&VALUE=y", "", Params{}},
		{"K13 unknown names are ignored", "a=b&c&=&&", "", Params{}},
		{"K13 plus is a space", "value=a+b%2Bc", "", Params{Value: "a b+c"}},
		{"K13 a bare name is an empty value", "value", "", Params{}},
		{"K13 escaped names are names", "%76alue=1", "", Params{Value: "1"}},
		{"K13 the first = divides", "value=a=b", "", Params{Value: "a=b"}},
		{"K15 leading zeros", "", "prevIndex=007", Params{PrevIndex: 7}},
		{"K15 the largest number", "", "waitIndex=18446744073709551615", Params{WaitIndex: 1<<64 - 1}},
		{"K15 spellings of true", "", "recursive=1&sorted=t&wait=T&dir=TRUE&quorum=true&stream=True", Params{
			Recursive: true, Sorted: true, Wait: true, Dir: true, Quorum: true, Stream: true}},
		{"K15 spellings of false", "", "recursive=0&sorted=f&wait=F&dir=FALSE&quorum=false&stream=False", Params{}},
		{"K60 an empty ttl is none", "ttl=", "", Params{}},
		{"K81 ttl 0 is one", "ttl=0", "", Params{TTL: store.TTL{Set: true}}},
		{"tristates", "", "prevExist=true&refresh=false", Params{PrevExist: Yes, Refresh: No}},
		{"K67 an empty value with refresh", "value=&refresh=true&ttl=5", "", Params{Refresh: Yes, TTL: store.TTL{Set: true, Seconds: 5}}},
		{"K127 bytes that are no UTF-8", "value=%ff\xfe%00", "", Params{Value: "\xff\xfe\x00"}},
	} {
		got, err := parseText("GET", c.body, c.query)
		if err != nil {
			t.Errorf("%s: parse(%q, %q) = %v", c.rule, c.body, c.query, err)
			continue
		}
		if diff := cmp.Diff(c.want, got); diff != "" {
			t.Errorf("%s: parse(%q, %q): (-want +got)\n%s", c.rule, c.body, c.query, diff)
		}
	}
}

// refusal is a row of K16 with a text that it refuses.
type refusal struct {
	code  store.Code
	cause string
	query string
}

// refusals are the rows of K16 in order. Only its own row refuses each query.
func refusals() []refusal {
	return []refusal{
		{210, `invalid URL escape "%zz"`, "value=%zz"},
		{203, `invalid value for "prevIndex"`, "prevIndex=-1"},
		{203, `invalid value for "waitIndex"`, "waitIndex="},
		{209, `invalid value for "recursive"`, "recursive=yes"},
		{209, `invalid value for "sorted"`, "sorted="},
		{209, `invalid value for "wait"`, "wait=tRUE"},
		{209, `invalid value for "dir"`, "dir=+1"},
		{209, `invalid value for "quorum"`, "quorum=2"},
		{209, `invalid value for "stream"`, "stream=on"},
		{209, `"wait" can only be used with GET requests`, "wait=true"},
		{201, `"prevValue" cannot be empty`, "prevValue="},
		{209, `invalid value for "noValueOnSuccess"`, "noValueOnSuccess=x"},
		{202, `invalid value for "ttl"`, "ttl=1e3"},
		{209, `invalid value for prevExist`, "prevExist="},
		{209, `invalid value for refresh`, "refresh=maybe"},
		{211, `A value was provided on a refresh`, "refresh=true&value=x"},
		{212, `No TTL value set`, "refresh=true"},
	}
}

func TestFirstFaultInOrderIsReported(t *testing.T) {
	rows := refusals()
	for _, method := range []string{"PUT", "POST", "DELETE", "HEAD"} {
		for i, first := range rows {
			checkRefusal(t, method, first.query, first)
			for _, second := range rows[i+1:] {
				// A parameter that is given twice counts once, so such a pair shows nothing about the order.
				if name, _, _ := strings.Cut(first.query, "="); strings.Contains(second.query, name+"=") {
					continue
				}
				checkRefusal(t, method, second.query+"&"+first.query, first)
			}
		}
	}
}

func checkRefusal(t *testing.T, method, query string, want refusal) {
	t.Helper()
	_, err := parseText(method, "", query)
	var e *store.Error
	if !errors.As(err, &e) || e.Code != want.code || e.Cause != want.cause || e.Index != 0 {
		t.Errorf("K16: %s ?%s = %v, want code %d %q index 0", method, query, err, want.code, want.cause)
	}
}

func TestInvalidNumbers(t *testing.T) {
	for _, text := range []string{"", "-1", "+1", "%20", "1%20", "1.0", "1e3", "0x1", "1_0", "18446744073709551616", "%D9%A1"} {
		checkRefusal(t, "GET", "waitIndex="+text, refusal{203, `invalid value for "waitIndex"`, ""})
		if text != "" {
			checkRefusal(t, "GET", "ttl="+text, refusal{202, `invalid value for "ttl"`, ""})
		}
	}
}

func TestMalformedForms(t *testing.T) {
	for text, cause := range map[string]string{
		"a=%":           `invalid URL escape "%"`,
		"a=%4":          `invalid URL escape "%4"`,
		"a=%zz1":        `invalid URL escape "%zz"`,
		"%zz=1":         `invalid URL escape "%zz"`,
		"value=1;ttl=2": `invalid semicolon separator in query`,
		"x=1&y;z":       `invalid semicolon separator in query`,
	} {
		checkRefusal(t, "GET", text, refusal{210, cause, ""})
	}
}

func TestARefreshNeedsANode(t *testing.T) {
	const refresh = "refresh=true&ttl=5"
	for _, c := range []struct {
		method, query string
		refused       bool
	}{
		{"PUT", "", false},
		{"PUT", "&prevExist=true", false},
		{"PUT", "&prevExist=true&dir=true", false}, // K87: dir has no meaning here
		{"PUT", "&prevIndex=3&dir=true", false},
		{"GET", "&dir=true", false},
		{"DELETE", "", false},
		{"PUT", "&dir=true", true},
		{"PUT", "&prevExist=false", true},
		{"POST", "", true},
	} {
		_, err := parseText(c.method, "", refresh+c.query)
		if refused := err != nil; refused != c.refused {
			t.Errorf("K71: %s %s%s = %v, want refused %v", c.method, refresh, c.query, err, c.refused)
		}
	}
}

func TestCommandsAreChosenBeforeTheLog(t *testing.T) {
	key, err := store.ParseKey("/k")
	if err != nil {
		t.Fatal(err)
	}
	ttl := store.TTL{Set: true, Seconds: 5}
	for _, c := range []struct {
		method, query string
		want          store.Command
	}{
		{"PUT", "value=v", store.Set{Key: key, Value: "v"}},
		{"PUT", "value=v&prevIndex=0", store.Set{Key: key, Value: "v"}},
		{"PUT", "dir=true&ttl=5", store.Set{Key: key, Dir: true, TTL: ttl}},
		{"PUT", "refresh=true&ttl=5", store.Set{Key: key, TTL: ttl, Refresh: true}},
		{"PUT", "value=v&prevExist=false&prevIndex=3&prevValue=x", store.Create{Key: key, Value: "v"}},
		{"PUT", "prevExist=true&value=v&dir=true", store.Update{Key: key, Value: "v"}},
		{"PUT", "prevExist=true&refresh=true&ttl=5", store.Update{Key: key, TTL: ttl, Refresh: true}},
		{"PUT", "prevExist=true&value=v&prevIndex=3", store.CompareAndSwap{Key: key, Value: "v", PrevIndex: 3}},
		{"PUT", "prevValue=x&value=v", store.CompareAndSwap{Key: key, Value: "v", PrevValue: "x"}},
		{"POST", "value=v&prevExist=true&prevIndex=3", store.CreateInOrder{Dir: key, Value: "v"}},
		{"POST", "dir=true&ttl=5", store.CreateInOrder{Dir: key, AsDir: true, TTL: ttl}},
		{"DELETE", "prevExist=true&ttl=5&value=v", store.Delete{Key: key}},
		{"DELETE", "dir=true&recursive=true", store.Delete{Key: key, Dir: true, Recursive: true}},
		{"DELETE", "recursive=true&prevIndex=3", store.CompareAndDelete{Key: key, PrevIndex: 3}},
		{"DELETE", "prevValue=x&prevIndex=0", store.CompareAndDelete{Key: key, PrevValue: "x"}},
	} {
		p, err := parseText(c.method, "", c.query)
		if err != nil {
			t.Errorf("K50: %s %s: %v", c.method, c.query, err)
			continue
		}
		if diff := cmp.Diff(c.want, p.Command(c.method, key), cmp.AllowUnexported(store.Key{})); diff != "" {
			t.Errorf("K50: %s %s: (-want +got)\n%s", c.method, c.query, diff)
		}
	}
}

// FuzzParse compares the scanner with that of net/url, and checks that every refusal is a row of K16.
func FuzzParse(f *testing.F) {
	for _, r := range refusals() {
		f.Add("PUT", r.query, "")
	}
	f.Add("GET", "value=a+b%20c&value=2&&=&x;y", "ttl=%31")
	f.Add("POST", "%76alue=\xff&dir=T", "prevExist")
	f.Fuzz(func(t *testing.T, method, body, query string) {
		var got Fields
		errBody, errQuery := Scan(&got, []byte(body)), error(nil)
		if errBody == nil {
			errQuery = Scan(&got, query)
		}
		compareWithURL(t, &got, body, query, errBody, errQuery)
		_, err := parseText(method, body, query)
		if err == nil {
			return
		}
		var e *store.Error
		if !errors.As(err, &e) || e.Cause == "" || e.Index != 0 || !isRefusal(e.Code) {
			t.Fatalf("parse(%q, %q, %q) = %#v, which is no row of K16", method, body, query, err)
		}
	})
}

func compareWithURL(t *testing.T, got *Fields, body, query string, errBody, errQuery error) {
	if strings.Count(body+query, "&") > 1000 {
		return // net/url has a limit of its own
	}
	wantBody, wantErrBody := url.ParseQuery(body)
	wantQuery, wantErrQuery := url.ParseQuery(query)
	if (errBody != nil) != (wantErrBody != nil) || errBody == nil && (errQuery != nil) != (wantErrQuery != nil) {
		t.Fatalf("Scan(%q), Scan(%q) = %v, %v, want %v, %v", body, query, errBody, errQuery, wantErrBody, wantErrQuery)
	}
	if errBody != nil || errQuery != nil {
		return
	}
	for name, values := range wantQuery {
		wantBody[name] = append(wantBody[name], values...)
	}
	for name, values := range wantBody {
		if id, known := fieldNamed(name); known && (!got.has(id) || got.text[id] != values[0]) {
			t.Fatalf("Scan(%q), Scan(%q): %s = %q, want %q", body, query, name, got.text[id], values[0])
		}
	}
}

// isRefusal tells whether a code is one of the rows of K16.
func isRefusal(code store.Code) bool {
	return code == store.CodeInvalidForm || slices.ContainsFunc(checks[:], func(c check) bool { return c.code == code })
}
