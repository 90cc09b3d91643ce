package discovery

import (
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
)

// User and password in the URL are sent, and neither hashed nor shown (D43).
func TestAPasswordInTheURL(t *testing.T) {
	service := newTokenService(t, "1")
	service.do(func() {
		service.script = refuseWith(func(r *http.Request) bool {
			user, password, _ := r.BasicAuth()
			return user != "me" || password != "p@ss/word"
		}, 401, `{"errorCode":110,"message":"The request requires user authentication"}`)
	})
	p := newProcess(t, "m1", strings.Replace(service.url, "://", "://me:p%40ss%2Fword@", 1))
	peers, err := Join(t.Context(), p.Options)
	if err != nil || len(peers) != 1 || peers[0].ID != idOf(p.PeerURLs, service.url) {
		t.Errorf("Join = %v, %v, want the ID %x", peers, err, idOf(p.PeerURLs, service.url))
	}
	if n, err := readNote(p.FS, p.Dir); err != nil || strings.Contains(n.Token+p.log.String(), "word") {
		t.Errorf("the note or the log has the password: %+v, %v\n%s", n, err, p.log)
	}
}

func TestParseToken(t *testing.T) {
	for _, tt := range []struct{ text, hashed, size string }{
		{"http://127.0.0.1:1/v2/keys/discovery/tok1", "http://127.0.0.1:1/v2/keys/discovery/tok1", "http://127.0.0.1:1/v2/keys/discovery/tok1/_config/size"},
		{"https://disco.example/3a98/", "https://disco.example/3a98/", "https://disco.example/3a98/_config/size"},
		{"http://u:p@h:1/a%2Fb", "http://h:1/a%2Fb", "http://h:1/a%2Fb/_config/size"},
		{"http://u:p@h/a@b?x=1#y", "http://h/a@b?x=1#y", "http://h/a@b/_config/size"},
		{"http://u:p@h", "http://h", "http://h/_config/size"},
		{"disco.example/3a98", "", ""},
		{"ftp://disco.example/3a98", "", ""},
		{"http:///3a98", "", ""},
		{"http://u:secret@h:port/x", "", ""},
		{"", "", ""},
	} {
		got, err := ParseToken(tt.text)
		if tt.hashed == "" {
			if err == nil || strings.Contains(err.Error(), "secret") {
				t.Errorf("ParseToken(%q) = %v, %v, want an error without password", tt.text, got, err)
			}
			continue
		}
		if err != nil || got.String() != tt.hashed || got.at("/_config/size").String() != tt.size {
			t.Errorf("ParseToken(%q) = %s, %v, with the size at %s, want %s and %s", tt.text, got, err, got.at("/_config/size"), tt.hashed, tt.size)
		}
	}
}

// A service may have moved within its host: reads follow a redirect, and registrations do not.
func TestAServiceThatHasMoved(t *testing.T) {
	service := newTokenService(t, "1")
	old := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		http.Redirect(w, r, strings.TrimSuffix(service.url, tokenPath)+r.URL.String(), http.StatusTemporaryRedirect)
	}))
	defer old.Close()
	p := newProcess(t, "m1", old.URL+tokenPath)
	if _, err := Join(t.Context(), p.Options); !errors.Is(err, ErrBadEndpoint) || !strings.Contains(err.Error(), "use the URL that it leads to") || len(service.keys()) > 0 {
		t.Errorf("Join = %v, with the registrations %q; want the redirect named, and none", err, service.keys())
	}
	service.set("a", "m2=http://10.0.0.2:2380")
	if peers, err := Members(t.Context(), p.Options); err != nil || len(peers) != 1 {
		t.Errorf("Members = %v, %v", peers, err)
	}
}

// A redirect to another host is not followed, and no text of an endpoint is logged.
func TestNothingForeignIsFollowedOrLogged(t *testing.T) {
	service := newTokenService(t, "1")
	const secret = "instance-credentials"
	var there atomic.Int64
	foreign := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		there.Add(1)
		io.WriteString(w, secret)
	}))
	defer foreign.Close()
	elsewhere := strings.Replace(foreign.URL, "127.0.0.1", "localhost", 1)
	for name, answer := range map[string]func(w http.ResponseWriter){
		"a redirect": func(w http.ResponseWriter) {
			w.Header().Set("Location", elsewhere)
			w.WriteHeader(302)
			io.WriteString(w, secret)
		},
		"a page":           func(w http.ResponseWriter) { io.WriteString(w, secret) },
		"a page for a 500": func(w http.ResponseWriter) { w.WriteHeader(500); io.WriteString(w, secret) },
		"an error of the API": func(w http.ResponseWriter) {
			w.WriteHeader(403)
			io.WriteString(w, `{"errorCode":110,"message":"`+secret+`","cause":"`+secret+`"}`)
		},
		"one that passes": func(w http.ResponseWriter) {
			w.WriteHeader(503)
			io.WriteString(w, `{"errorCode":300,"message":"`+secret+`"}`)
		},
	} {
		service.do(func() {
			service.script = func(w http.ResponseWriter, _ *http.Request) bool { answer(w); return true }
		})
		p := newProcess(t, "m1", service.url)
		_, err := Join(t.Context(), p.Options)
		if err == nil || strings.Contains(err.Error()+p.log.String(), secret) || strings.Contains(err.Error()+p.log.String(), "localhost") {
			t.Errorf("%s: the error is %v, the log:\n%s", name, err, p.log)
		}
	}
	if there.Load() > 0 {
		t.Errorf("%d requests went to another host", there.Load())
	}
}

// A cut answer is a failure of the network, and not a bad endpoint.
func TestAnAnswerThatIsCutOff(t *testing.T) {
	service := newTokenService(t, "1")
	service.do(func() {
		service.script = func(w http.ResponseWriter, _ *http.Request) bool {
			w.Header().Set("Content-Length", "100")
			io.WriteString(w, `{"action"`)
			panic(http.ErrAbortHandler)
		}
	})
	p := newProcess(t, "m1", service.url, func() { service.do(func() { service.script = nil }) })
	if peers, err := Join(t.Context(), p.Options); err != nil || len(peers) != 1 {
		t.Errorf("Join = %v, %v", peers, err)
	}
}

// Requests go through --discovery-proxy, and through no proxy of the environment
// (D13).
func TestThroughAnHTTPProxy(t *testing.T) {
	t.Setenv("HTTP_PROXY", "http://127.0.0.1:1")
	service := newTokenService(t, "1")
	var passed atomic.Int64
	proxy := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		passed.Add(1)
		r.RequestURI = ""
		response, err := http.DefaultTransport.(*http.Transport).Clone().RoundTrip(r)
		if err != nil {
			w.WriteHeader(http.StatusBadGateway)
			return
		}
		defer response.Body.Close()
		w.Header().Set("X-Etcd-Index", response.Header.Get("X-Etcd-Index"))
		w.WriteHeader(response.StatusCode)
		io.Copy(w, response.Body) // a client that has left asks again
	}))
	defer proxy.Close()
	p := newProcess(t, "m1", service.url)
	p.Proxy = "me:geheim@" + strings.TrimPrefix(proxy.URL, "http://")
	if peers, err := Join(t.Context(), p.Options); err != nil || len(peers) != 1 || passed.Load() < 3 {
		t.Errorf("Join = %v, %v, with %d requests through the proxy", peers, err, passed.Load())
	}
	if !strings.Contains(p.log.String(), `using proxy "http://me:xxxxx@127.0.0.1:`) {
		t.Errorf("the log does not name the proxy, or shows its password:\n%s", p.log)
	}
	p.Proxy = "http://"
	if _, err := Join(t.Context(), p.Options); err == nil || !strings.Contains(err.Error(), "--discovery-proxy") {
		t.Errorf("a proxy without host: %v", err)
	}
}
