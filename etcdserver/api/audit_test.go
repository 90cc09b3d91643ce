package api

import (
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/sirupsen/logrus"

	"canopy/etcdserver/metrics"
	"canopy/internal/audit"
)

// The audit log tells of all changes and refusals, on every door, and of no value, password or secret.
func TestAudit(t *testing.T) {
	name := filepath.Join(t.TempDir(), "audit")
	log, err := audit.Open(audit.Options{File: name, Log: logrus.New()})
	if err != nil {
		t.Fatal(err)
	}
	s := guarded(t, Options{Audit: log})
	s.as(bob, "PUT", "/v2/keys/app/a", "value=SECRETVALUE", 201)
	s.as(bob, "GET", "/v2/keys/app/a", "", 200)
	s.as(bob, "GET", "/v2/keys/other?wait=true", "", 401)
	s.as(basic("bob", "guess"), "PUT", "/v2/keys/app/a", "value=x", 401)
	s.as(bob, "PUT", "/v2/keys/app/a?prevValue=SECRETVALUE2", "value=x", 412)
	s.as(http.Header{"Authorization": {"Bearer none"}}, "DELETE", "/v2/keys/app/a", "", 401)
	s.as(nil, "PUT", "/v2/keys/app/a", "value=x", 401)
	s.as(http.Header{"Origin": {"http://evil.example"}}, "PUT", "/v2/keys/app/a", "value=x", 403)
	var token struct{ Token string }
	if err := json.Unmarshal([]byte(s.as(bob, "POST", "/v2/auth/tokens", "{}", 201).body), &token); err != nil {
		t.Fatal(err)
	}
	s.as(http.Header{"Authorization": {"Bearer " + token.Token}}, "DELETE", "/v2/keys/app/a", "", 200)
	s.as(bob, "DELETE", "/v2/members/2ee3bf4adcf59b4", "", 401)
	s.as(root, "PUT", "/v2/auth/users/bob", `{"user":"bob","password":"other"}`, 200)
	log.Close()
	text, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	var lines []string
	for line := range strings.Lines(string(text)) {
		var e audit.Entry
		if err := json.Unmarshal([]byte(line), &e); err != nil {
			t.Fatal(err)
		}
		lines = append(lines, strings.Join(strings.Fields(fmt.Sprint(e.User, " ", e.By, " ", e.Method, " ", e.Path, " ", e.Outcome, " ", e.Status)), " "))
	}
	want := `PUT /v2/auth/users/root done 201
PUT /v2/auth/roles/r done 201
PUT /v2/auth/users/bob done 200
PUT /v2/auth/roles/guest done 201
PUT /v2/auth/enable done 200
bob password PUT /v2/keys/app/a done 201
bob password GET /v2/keys/other refused 401
bob password PUT /v2/keys/app/a refused 401
bob password PUT /v2/keys/app/a failed 412
DELETE /v2/keys/app/a refused 401
nothing PUT /v2/keys/app/a refused 401
PUT /v2/keys/app/a refused 403
bob password POST /v2/auth/tokens done 201
bob token DELETE /v2/keys/app/a done 200
bob password DELETE /v2/members/2ee3bf4adcf59b4 refused 401
root password PUT /v2/auth/users/bob done 200`
	if got := strings.Join(lines, "\n"); got != want {
		t.Errorf("the audit log tells\n%s\nwant\n%s", got, want)
	}
	for _, secret := range []string{"SECRETVALUE", "rootpw", "guess", "c2VjcmV0", token.Token} {
		if strings.Contains(string(text), secret) {
			t.Errorf("the audit log has %q", secret)
		}
	}
}

// Logins are counted by what tells the user, and refusals by reason.
func TestLoginsAreCounted(t *testing.T) {
	registry := prometheus.NewRegistry()
	s := guarded(t, Options{Metrics: metrics.New(registry), Gatherer: registry})
	s.as(bob, "PUT", "/v2/keys/app/a", "value=1", 201)
	s.as(bob, "GET", "/v2/keys/app/a", "", 200)
	s.as(basic("bob", "guess"), "GET", "/v2/keys/app/a", "", 401)
	s.as(basic("nobody", "guess"), "GET", "/v2/members", "", 200) // open to everybody
	s.as(bob, "GET", "/v2/keys/other", "", 401)
	s.as(nil, "GET", "/v2/keys/app/a", "", 401)
	s.as(bob, "GET", "/debug/vars", "", 401)
	s.as(bob, "GET", "/v2/auth/users", "", 401)
	s.as(basic("bob", "guess"), "GET", "/v2/auth/users", "", 401)
	text := s.as(nil, "GET", "/metrics", "", 200).body
	for _, line := range []string{
		`canopy_auth_requests_total{by="password"} 5`, `canopy_auth_requests_total{by="nothing"} 1`, `canopy_auth_requests_total{by="token"} 0`,
		`canopy_auth_refusals_total{reason="credentials"} 2`, `canopy_auth_refusals_total{reason="right"} 4`, `canopy_auth_refusals_total{reason="busy"} 0`,
		`canopy_auth_password_checks_total{right="true"} 1`, `canopy_auth_password_checks_total{right="false"} 2`,
		`canopy_auth_password_checks_waiting 0`, `canopy_audit_dropped_total 0`,
	} {
		if !strings.Contains(text, line+"\n") {
			t.Errorf("no %s", line)
		}
	}
	if t.Failed() {
		t.Log(text)
	}
}
