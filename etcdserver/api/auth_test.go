package api

import (
	"bufio"
	"context"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/gorilla/mux"

	"canopy/etcdserver/auth"
	"canopy/etcdserver/login"
	"canopy/internal/httpserver"
	"canopy/store"
)

// basic is the header of a user with a password.
func basic(user, password string) http.Header {
	return http.Header{"Authorization": {"Basic " + base64.StdEncoding.EncodeToString([]byte(user+":"+password))}}
}

// as sends a request with a header and a body, and checks the status.
func (s *site) as(who http.Header, method, target, body string, status int) reply {
	s.t.Helper()
	header := http.Header{}
	for name, values := range who {
		header[name] = values
	}
	if !strings.HasPrefix(body, "{") && body != "" {
		header.Set("Content-Type", formType)
	}
	a := s.send(method, target, header, strings.NewReader(body))
	if a.status != status {
		s.t.Errorf("%s %s of %v = %d %s, want %d", method, target, who, a.status, a.body, status)
	}
	return a
}

var root, bob = basic("root", "rootpw"), basic("bob", "secret")

// guarded is a site where users and roles matter: bob may read and write below /app and write /w, and a guest nothing.
func guarded(t *testing.T, o Options) *site {
	t.Helper()
	o.BcryptCost = login.CostMin
	s := newSite(t, o, httpserver.Options{})
	s.as(nil, "PUT", "/v2/auth/users/root", `{"user":"root","password":"rootpw"}`, 201)
	s.as(nil, "PUT", "/v2/auth/roles/r", `{"role":"r","permissions":{"kv":{"read":["/app/*"],"write":["/app/*","/w"]}}}`, 201)
	s.as(nil, "PUT", "/v2/auth/users/bob", `{"user":"bob","password":"secret","roles":["r"]}`, 200)
	s.as(nil, "PUT", "/v2/auth/roles/guest", `{"role":"guest"}`, 201)
	s.as(nil, "PUT", "/v2/auth/enable", "", 200)
	return s
}

// Each route says what it needs, and asks for it (R89).
func TestEveryRouteNeedsItsRight(t *testing.T) {
	s := guarded(t, Options{PprofEnabled: true})
	checked := 0
	err := s.handler.router.(*mux.Router).Walk(func(route *mux.Route, _ *mux.Router, _ []*mux.Route) error {
		path, err := route.GetPathTemplate()
		if err != nil {
			return err
		}
		wanted, known := needs()[path]
		if strings.HasPrefix(path, "/debug/") {
			wanted, known = needs()["/debug/"], true
		}
		if !known {
			t.Errorf("the route %s has no row in needs", path)
		}
		checked++
		target := strings.NewReplacer("{rest:.*}", "1", "profile", "profile?seconds=bad").Replace(path)
		if wanted == needsOwnCheck || strings.HasSuffix(path, "/trace") || strings.Contains(path, "profile") {
			return nil
		}
		for _, method := range []string{"GET", "PUT", "POST", "DELETE"} {
			for name, who := range map[string]http.Header{"a guest": {}, "bob": bob, "a wrong password": basic("root", "x"), "root": root} {
				header := who.Clone()
				got := s.send(method, target, header, strings.NewReader("{}")).status
				if got == http.StatusMethodNotAllowed {
					continue
				}
				refuses := name != "root" && (wanted == needsRoot || wanted == needsRootToChange && method != "GET")
				if refuses != (got == http.StatusUnauthorized) {
					t.Errorf("%s %s of %s = %d", method, target, name, got)
				}
			}
		}
		return nil
	})
	if err != nil || checked < 12 {
		t.Errorf("%d routes, %v", checked, err)
	}
}

// Hostile names and headers are refused with 401, and nothing else happens (A51–A53, section 7).
func TestHostileCredentials(t *testing.T) {
	s := guarded(t, Options{})
	s.as(root, "PUT", "/v2/auth/roles/guest", `{"role":"guest","grant":{"kv":{"read":["/app/*"]}}}`, 200)
	s.as(nil, "GET", "/v2/keys/app/k", "", 404) // without a header one may read
	encode := base64.StdEncoding.EncodeToString
	for _, header := range []string{
		"Basic", "Basic ", "Basic  " + encode([]byte("root:rootpw")), "Basic !!!", "Basic " + encode([]byte("rootrootpw")),
		"Basic " + strings.TrimRight(encode([]byte("root:rootpw1")), "="), "Basic " + encode([]byte(":rootpw")), "Basic " + encode([]byte(":")),
		"Bearer x", "Bearer ", "Digest " + encode([]byte("root:rootpw")), "x", "Basic " + encode([]byte("../1/k:x")),
		"Basic " + encode([]byte("..:x")), "Basic " + encode([]byte("a/b:x")), "Basic " + encode([]byte("a\x00:x")),
		"Basic " + encode([]byte("root\x00:rootpw")), "Basic " + encode([]byte(strings.Repeat("r", 20_000)+":x")), "Basic " + encode([]byte("guest:")),
		"Basic " + encode([]byte("root:rootpw2")), "Basic " + encode([]byte("root: rootpw")), "Basic " + encode([]byte("Root:rootpw")),
	} {
		a := s.send("GET", "/v2/keys/app/k", http.Header{"Authorization": {header}}, nil)
		want := `{"errorCode":110,"message":"The request requires user authentication","cause":"Insufficient credentials","index":0}` + "\n"
		if a.status != 401 || a.body != want || a.header.Get("WWW-Authenticate") != `Basic realm="etcd"` || a.header.Get("X-Etcd-Index") != "0" {
			t.Errorf("%.60q = %d %v %s", header, a.status, a.header, a.body)
		}
		if a := s.send("GET", "/v2/auth/users", http.Header{"Authorization": {header}}, nil); a.status != 401 ||
			a.body != `{"message":"Insufficient credentials"}` || a.header.Get("X-Etcd-Cluster-Id") != "" {
			t.Errorf("%.60q = %d %v %s", header, a.status, a.header, a.body)
		}
	}
	for _, scheme := range []string{"Basic", "basic", "BASIC"} {
		s.as(http.Header{"Authorization": {scheme + " " + encode([]byte("root:rootpw"))}}, "GET", "/v2/auth/users", "", 200)
	}
	for _, name := range []string{"a%2Fb", "%2e%2e", "a:b", "a%00b", strings.Repeat("x", 256)} {
		a := s.as(root, "PUT", "/v2/auth/users/"+name, `{"user":`+quoted(name)+`,"password":"x"}`, 400)
		if !strings.Contains(a.body, "Invalid") {
			t.Errorf("user %s: %s", name, a.body)
		}
	}
	if users := s.as(root, "GET", "/v2/auth/users", "", 200); strings.Count(users.body, `"user"`) != 2 {
		t.Errorf("there are other users now: %s", users.body)
	}
}

// quoted is a percent-encoded name as JSON.
func quoted(name string) string {
	b, _ := json.Marshal(strings.NewReplacer("%2F", "/", "%2e", ".", "%00", "\x00").Replace(name)) // a text can be encoded
	return string(b)
}

// Who may write a key and not read it sees no value of it (A48, R88).
func TestWritersSeeNoOldValue(t *testing.T) {
	s := guarded(t, Options{})
	s.as(root, "PUT", "/v2/keys/w", `value=the "secret" {prevNode}`, 201)
	for _, write := range []struct {
		method, form string
		status       int
	}{{"PUT", "value=mine&prevValue=guess", 412}, {"PUT", "value=mine&prevValue=guess&prevIndex=1", 412}, {"PUT", "value=mine", 200}} {
		if a := s.as(bob, write.method, "/v2/keys/w", write.form, write.status); strings.Contains(a.body, "secret") {
			t.Errorf("%s %s shows the value: %s", write.method, write.form, a.body)
		}
	}
	s.as(root, "PUT", "/v2/keys/w", "value=secret", 200)
	a := s.as(bob, "DELETE", "/v2/keys/w", "", 200)
	var event struct{ PrevNode struct{ Key, Value string } }
	if err := json.Unmarshal([]byte(a.body), &event); err != nil || strings.Contains(a.body, "secret") || event.PrevNode.Key != "/w" {
		t.Errorf("DELETE answers %s, %v", a.body, err)
	}
	s.as(bob, "PUT", "/v2/keys/app/k", "value=1", 201)
	if a := s.as(bob, "PUT", "/v2/keys/app/k", "value=2", 200); !strings.Contains(a.body, `"prevNode":{"key":"/app/k","value":"1"`) {
		t.Errorf("who may read sees %s", a.body)
	}
}

// Exact rights do not reach below, for guests and users alike (A45, A46, R87).
func TestExactRightsStayExact(t *testing.T) {
	s := guarded(t, Options{})
	s.as(root, "PUT", "/v2/auth/roles/guest", `{"role":"guest","grant":{"kv":{"read":["/app"],"write":["/app"]}}}`, 200)
	s.as(root, "PUT", "/v2/auth/users/eve", `{"user":"eve","password":"x","roles":["guest"]}`, 200)
	s.as(root, "PUT", "/v2/keys/app/k", "value=1", 201)
	for name, who := range map[string]http.Header{"a guest": nil, "a user": basic("eve", "x")} {
		for _, r := range []struct {
			method, target, form string
			status               int
		}{
			{"GET", "/v2/keys/app", "", 200}, {"GET", "/v2/keys/app/", "", 200}, {"GET", "/v2/keys/app?recursive=true", "", 401},
			{"DELETE", "/v2/keys/app?recursive=true", "", 401}, {"GET", "/v2/keys/app?wait=true&recursive=true", "", 401},
			{"PUT", "/v2/keys/app?dir=true&ttl=1&prevExist=true", "", 401}, {"GET", "/v2/keys/app/k", "", 401},
			{"PUT", "/v2/keys/app/k", "value=x", 401}, {"POST", "/v2/keys/app/k", "value=x", 401},
		} {
			t.Run(name, func(t *testing.T) { s.as(who, r.method, r.target, r.form, r.status) })
		}
	}
}

// A stream and a long poll end cleanly when their owner loses the right, by any change, and others go on (A49).
func TestWatchesEndWithTheRight(t *testing.T) {
	for name, change := range map[string]func(s *site){
		"a pattern is revoked": func(s *site) {
			s.as(root, "PUT", "/v2/auth/roles/r", `{"role":"r","revoke":{"kv":{"read":["/app/*"]}}}`, 200)
		},
		"the role is revoked": func(s *site) { s.as(root, "PUT", "/v2/auth/users/bob", `{"user":"bob","revoke":["r"]}`, 200) },
		"the password changes": func(s *site) {
			s.as(root, "PUT", "/v2/auth/users/bob", `{"user":"bob","password":"other"}`, 200)
		},
		"the user is deleted": func(s *site) { s.as(root, "DELETE", "/v2/auth/users/bob", "", 200) },
	} {
		t.Run(name, func(t *testing.T) {
			s := guarded(t, Options{})
			ctx, cancel := context.WithTimeout(t.Context(), patience)
			defer cancel()
			ended := make(chan error, 1)
			go func() { ended <- s.handler.Run(ctx) }()
			watches := map[string]*http.Response{}
			for _, who := range []string{"bob", "root"} {
				header := map[string]http.Header{"bob": bob, "root": root}[who]
				for _, query := range []string{"wait=true", "wait=true&stream=true"} {
					r, err := http.NewRequestWithContext(ctx, "GET", "http://"+s.addr+"/v2/keys/app?recursive=true&"+query, nil)
					if err != nil {
						t.Fatal(err)
					}
					r.URL.Path = "/v2/keys/app/"
					r.Header = header.Clone()
					answer, err := http.DefaultTransport.RoundTrip(r)
					if err != nil || answer.StatusCode != 200 {
						t.Fatalf("%s %s: %v %v", who, query, answer, err)
					}
					defer answer.Body.Close()
					watches[who+" "+query] = answer
				}
			}
			change(s)
			for _, query := range []string{"wait=true", "wait=true&stream=true"} {
				if left, err := io.ReadAll(watches["bob "+query].Body); err != nil || len(left) != 0 {
					t.Errorf("the watch of bob, %s, ends with %q, %v", query, left, err)
				}
			}
			s.as(root, "PUT", "/v2/keys/app/new", "value=1", 201)
			for _, query := range []string{"wait=true", "wait=true&stream=true"} {
				if line, err := bufio.NewReader(watches["root "+query].Body).ReadString('\n'); err != nil || !strings.Contains(line, "/app/new") {
					t.Errorf("the watch of root, %s, gets %q, %v", query, line, err)
				}
			}
			cancel()
			if err := <-ended; err != nil {
				t.Error(err)
			}
		})
	}
}

// A watch that was opened while users did not matter ends when they do, if a guest may not have it.
func TestWatchesOfGuestsEndWhenUsersMatter(t *testing.T) {
	s := newSite(t, Options{BcryptCost: login.CostMin}, httpserver.Options{})
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	ended := make(chan error, 1)
	go func() { ended <- s.handler.Run(ctx) }()
	answer, err := http.Get("http://" + s.addr + "/v2/keys/app?wait=true&recursive=true")
	if err != nil {
		t.Fatal(err)
	}
	defer answer.Body.Close()
	s.as(nil, "PUT", "/v2/auth/users/root", `{"user":"root","password":"rootpw"}`, 201)
	s.as(nil, "PUT", "/v2/auth/roles/guest", `{"role":"guest"}`, 201)
	s.as(nil, "PUT", "/v2/auth/enable", "", 200)
	if left, err := io.ReadAll(answer.Body); err != nil || len(left) != 0 {
		t.Errorf("the watch ends with %q, %v", left, err)
	}
	cancel()
	if err := <-ended; err != nil {
		t.Error(err)
	}
}

// A token does what its user may, within its roles, until it is revoked; its secret is shown once.
func TestTokensStandForUsers(t *testing.T) {
	s := guarded(t, Options{})
	s.as(root, "PUT", "/v2/auth/roles/r2", `{"role":"r2","permissions":{"kv":{"read":["/other"]}}}`, 201)
	s.as(root, "PUT", "/v2/auth/users/bob", `{"user":"bob","grant":["r2"]}`, 200)
	s.as(nil, "POST", "/v2/auth/tokens", "", 401)
	s.as(bob, "POST", "/v2/auth/tokens", `{"roles":["root"]}`, 400)
	s.as(bob, "POST", "/v2/auth/tokens", `{"ttl":0}`, 400)
	var made struct{ ID, Token, User, Expires string }
	a := s.as(bob, "POST", "/v2/auth/tokens", `{"ttl":3600,"roles":["r"]}`, 201)
	if err := json.Unmarshal([]byte(a.body), &made); err != nil || len(made.Token) < 40 || made.User != "bob" || made.Expires == "" {
		t.Fatalf("a token is %s, %v", a.body, err)
	}
	token := http.Header{"Authorization": {"Bearer " + made.Token}}
	s.as(token, "PUT", "/v2/keys/app/k", "value=1", 201)
	s.as(token, "GET", "/v2/keys/other", "", 401) // r2 is not a role of the token
	s.as(bob, "GET", "/v2/keys/other", "", 404)
	s.as(token, "POST", "/v2/auth/tokens", "", 401)
	s.as(token, "GET", "/v2/auth/users", "", 401)
	list := s.as(bob, "GET", "/v2/auth/tokens", "", 200)
	if !strings.Contains(list.body, made.ID) || strings.Contains(list.body, made.Token) {
		t.Errorf("the tokens of bob are %s", list.body)
	}
	s.as(bob, "GET", "/v2/auth/tokens?user=root", "", 401)
	if list := s.as(root, "GET", "/v2/auth/tokens?user=bob", "", 200); !strings.Contains(list.body, made.ID) {
		t.Errorf("root sees %s", list.body)
	}
	s.as(root, "PUT", "/v2/auth/users/eve", `{"user":"eve","password":"x"}`, 201)
	s.as(basic("eve", "x"), "DELETE", "/v2/auth/tokens/"+made.ID, "", 404)
	s.as(bob, "DELETE", "/v2/auth/tokens/"+made.ID, "", 200)
	s.as(token, "GET", "/v2/keys/app/k", "", 401)
}

// What allows a request is told to root, and to each user of the own rights.
func TestRightsAreExplained(t *testing.T) {
	s := guarded(t, Options{})
	for _, tt := range []struct{ query, want string }{
		{"user=bob&key=/app/k&method=PUT", `{"allowed":true,"enabled":true,"right":"write","role":"r","pattern":"/app/*"}`},
		{"user=bob&key=/w", `{"allowed":false,"enabled":true,"right":"read"}`},
		{"user=bob&key=/w&method=DELETE&recursive=true", `{"allowed":false,"enabled":true,"right":"write"}`},
		{"user=root&key=/w", `{"allowed":true,"enabled":true,"right":"read","role":"root","pattern":"*"}`},
	} {
		if a := s.as(root, "GET", "/v2/auth/explain?"+tt.query, "", 200); a.body != tt.want+"\n" {
			t.Errorf("%s: %s, want %s", tt.query, a.body, tt.want)
		}
	}
	s.as(bob, "GET", "/v2/auth/explain?user=bob&key=/app/k", "", 200)
	s.as(bob, "GET", "/v2/auth/explain?user=root&key=/app/k", "", 401)
	s.as(bob, "GET", "/v2/auth/explain?key=/app/k", "", 401)
	s.as(root, "GET", "/v2/auth/explain?user=nope&key=/x", "", 404)
	s.as(root, "GET", "/v2/auth/explain?user=bob&key=/x&recursive=maybe", "", 400)
}

// Long passwords are refused, and no answer holds a password or its hash (A24, A55, R92).
func TestPasswordsAreNotShown(t *testing.T) {
	s := guarded(t, Options{})
	s.as(root, "PUT", "/v2/auth/users/long", `{"user":"long","password":"`+strings.Repeat("x", 73)+`"}`, 400)
	for _, target := range []string{"/v2/auth/users", "/v2/auth/users/bob", "/v2/auth/roles", "/v2/auth/explain?user=bob&key=/", "/v2/auth/tokens?user=bob"} {
		if a := s.as(root, "GET", target, "", 200); strings.Contains(a.body, "secret") || strings.Contains(a.body, "$2a$") {
			t.Errorf("%s shows %s", target, a.body)
		}
	}
}

// A role that does not exist can be granted, and is shown without rights (A28). Names are listed in their order (A27, A33).
func TestListsOfUsers(t *testing.T) {
	s := guarded(t, Options{})
	s.as(root, "PUT", "/v2/auth/users/_x", `{"user":"_x","password":"x","roles":["gone"]}`, 200)
	if a := s.as(root, "GET", "/v2/auth/users/_x", "", 200); a.body != `{"user":"_x","roles":[{"role":"gone","permissions":{"kv":{"read":null,"write":null}}}]}`+"\n" {
		t.Errorf("a user with a role that does not exist: %s", a.body)
	}
	var list struct {
		Users []struct {
			User  string
			Roles []struct{ Role string }
		}
	}
	a := s.as(root, "GET", "/v2/auth/users", "", 200)
	if err := json.Unmarshal([]byte(a.body), &list); err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, u := range list.Users {
		names = append(names, fmt.Sprint(u.User, len(u.Roles)))
	}
	if !slices.Equal(names, []string{"_x0", "bob1", "root1"}) {
		t.Errorf("the list of users is %v", names)
	}
}

// The reader of credentials takes any header.
func FuzzCredentials(f *testing.F) {
	f.Add("Basic cm9vdDpyb290cHc=")
	f.Add("Bearer x")
	f.Add("Basic !!!")
	checker := login.New(login.Options{Cost: login.CostMin})
	hash, err := checker.Hash(context.Background(), "none of the inputs has this")
	if err != nil {
		f.Fatal(err)
	}
	state, _, err := (&auth.State{}).Apply(auth.PutUser{Name: "root", Hash: hash}, 1)
	if err != nil {
		f.Fatal(err)
	}
	h := New(newSoloMember(store.Options{}), Options{BcryptCost: login.CostMin})
	f.Fuzz(func(t *testing.T, header string) {
		r := request(t, "GET", "/v2/keys/k", "")
		r.Header.Set("Authorization", header)
		who, err := h.finder.Find(r, state, 1)
		if err == nil && who.User != "" {
			t.Errorf("%q is %q without a password", header, who.User)
		}
	})
}
