package value

import (
	"testing"
)

// The machine is known by its name, which may have dots, but by nothing that only looks like it.
func TestTheNameOfTheMachineIsServed(t *testing.T) {
	p := NewHostPolicy(nil, "M1.corp.example", nil)
	for host, served := range map[string]bool{"m1.corp.example:2379": true, "M1.Corp.Example.": true, "m1": true, "corp.example": false, "m1.corp.example.evil.example": false} {
		if got := p.Allows(host, true); got != served {
			t.Errorf("Allows(%q) = %v, want %v", host, got, served)
		}
	}
	if NewHostPolicy(nil, "", nil).Allows(".", true) {
		t.Error("a machine without a name has every empty one")
	}
}
