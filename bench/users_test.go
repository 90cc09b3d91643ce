package main

import (
	"errors"
	"testing"
	"time"

	"canopy/client/membertest"
)

// A load with a password is one of a user who may write.
func TestLoadsWithUsers(t *testing.T) {
	to := target{endpoint: membertest.Start(t, 1).ClientURLs()[0]}
	o := options{connections: 2, keys: 10, duration: 200 * time.Millisecond, user: "bob:secret", patterns: 100, users: 3, wrong: 100}
	if err := o.enableUsers(t.Context(), to); err != nil {
		t.Fatal(err)
	}
	if _, err := runPut(t.Context(), to.as("bob:guess"), o); err == nil {
		t.Error("a load with a wrong password is accepted")
	}
	to.who = o.who()
	for name, run := range map[string]func() (result, error){
		"put":             func() (result, error) { return runPut(t.Context(), to, o) },
		"get":             func() (result, error) { return runGet(t.Context(), to, o) },
		"first-logins":    func() (result, error) { return runFirstLogins(t.Context(), to, o) },
		"wrong-passwords": func() (result, error) { return runWrongPasswords(t.Context(), to, o) },
	} {
		r, err := run()
		if err != nil || r.Requests == 0 {
			t.Errorf("%s: %+v, %v", name, r, err)
		}
		if served, counted := r.Extra["logins_served"]; counted && served != 3 {
			t.Errorf("%v of 3 users were served", served)
		}
	}
	o.user = ""
	if _, err := runWrongPasswords(t.Context(), to, o); !errors.Is(err, errNeedsUser) {
		t.Errorf("wrong passwords without a right one: %v", err)
	}
}
