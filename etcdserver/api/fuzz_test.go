package api

import (
	"bufio"
	"context"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"canopy/internal/middleware"
	"canopy/store"
)

// FuzzRequest gives the handler all requests that net/http accepts. None may make it panic, hang, or answer with a status
// that has no meaning here (R78, R79).
func FuzzRequest(f *testing.F) {
	const form = "Host: localhost\r\nContent-Type: " + formType + "\r\nContent-Length: 7\r\n\r\nvalue=x"
	for _, text := range []string{
		"PUT /v2/keys/k HTTP/1.1\r\n" + form,
		"POST /v2/keys/k?dir=true&ttl=5 HTTP/1.1\r\n" + form,
		"GET /v2/keys/k?wait=true&stream=true&waitIndex=2 HTTP/1.1\r\nHost: x\r\n\r\n",
		"GET /v2/keys/%2e%2e/x HTTP/1.0\r\n\r\n",
		"HEAD /v2/keys//./a HTTP/1.1\r\nHost: x\r\nOrigin: http://x\r\nAccept-Encoding: gzip;q=0\r\n\r\n",
		"DELETE /v2/keys/k?recursive=true&prevIndex=4 HTTP/1.1\r\nHost: x\r\nOrigin: null\r\n\r\n",
		"POST /v2/members HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: 15\r\n\r\n{\"peerURLs\":[]}",
		"DELETE /v2/members/2ee3bf4adcf59b4 HTTP/1.1\r\nHost: x\r\n\r\n",
		"PUT /config/local/log HTTP/1.1\r\nHost: x\r\nContent-Length: 11\r\n\r\n{\"Level\":4}",
		"GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n",
		"GET http://[::1%25z]/v2/keys HTTP/1.1\r\nHost: \xff\r\n\r\n",
	} {
		f.Add(text)
	}
	h := New(newSoloMember(store.Options{}), Options{
		Origins:   []string{"http://a.example"},
		AllowHost: func(host string, _ bool) bool { return !strings.Contains(host, "evil") },
		AccessLog: func(middleware.Access) {},
	})
	f.Fuzz(func(t *testing.T, text string) {
		r, err := http.ReadRequest(bufio.NewReader(strings.NewReader(text)))
		if err != nil {
			return
		}
		ctx, cancel := context.WithCancel(context.Background())
		cancel() // a watch sees that its client has left
		w := httptest.NewRecorder()
		h.ServeHTTP(w, r.WithContext(ctx))
		switch w.Code {
		case 200, 201, 204, 400, 403, 404, 405, 409, 412, 415, 421, 501:
		default:
			t.Fatalf("%q is answered %d %s", text, w.Code, w.Body)
		}
		if strings.HasPrefix(w.Header().Get("Content-Type"), "application/json") && w.Code >= 400 && w.Body.Len() > 0 && w.Body.Bytes()[0] != '{' {
			t.Fatalf("%q is answered %d %s", text, w.Code, w.Body)
		}
	})
}
