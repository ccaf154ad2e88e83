package kubernetes

import (
	"fmt"
	"net/url"
	"regexp"
	"slices"
	"strings"

	core "k8s.io/api/core/v1"
	networking "k8s.io/api/networking/v1"
	gateway "sigs.k8s.io/gateway-api/apis/v1"
)

// checkNetwork looks whether a pod reaches what its environment names, and is reached at its ports.
func checkNetwork(o *objects, p pod, env map[string]string) (problems []string) {
	out, in := map[int32]bool{}, map[string]bool{}
	denied := false
	for _, policy := range o.policies {
		if !selects(&policy.Spec.PodSelector, p.labels) {
			continue
		}
		both := slices.Equal(policy.Spec.PolicyTypes, []networking.PolicyType{networking.PolicyTypeIngress, networking.PolicyTypeEgress})
		if both && len(policy.Spec.PodSelector.MatchLabels) == 0 && len(policy.Spec.Ingress)+len(policy.Spec.Egress) == 0 {
			denied = true
		}
		for _, rule := range policy.Spec.Egress {
			if len(rule.To) == 0 || len(rule.Ports) == 0 {
				problems = append(problems, policy.Name+" lets out more than it names")
			}
			for _, port := range rule.Ports {
				out[port.Port.IntVal] = true
			}
		}
		for _, rule := range policy.Spec.Ingress {
			if len(rule.From) == 0 || len(rule.Ports) == 0 {
				problems = append(problems, policy.Name+" lets in more than it names")
			}
			for _, port := range rule.Ports {
				in[port.Port.String()] = true
			}
		}
	}
	if !denied {
		problems = append(problems, "no policy denies what none allows")
	}
	for _, port := range p.container().Ports {
		if !in[port.Name] {
			problems = append(problems, fmt.Sprintf("%s: nobody may reach its port %s", p, port.Name))
		}
	}
	want := map[string]int32{}
	for name, value := range env {
		switch name {
		case "KAFKA_BROKERS":
			for broker := range strings.SplitSeq(value, ",") {
				want[name] = portOf(broker)
			}
		case "TEMPORAL_ADDRESS":
			want[name] = portOf(value)
		case "DATABASE_URL", "DATABASE_LISTEN_URL", "SUPABASE_URL", "JWKS_URL":
			u, err := url.Parse(value)
			if err != nil {
				problems = append(problems, err.Error())
				continue
			}
			if want[name] = portOf(u.Host); want[name] == 0 {
				want[name] = map[string]int32{"http": 80, "https": 443}[u.Scheme]
			}
		}
	}
	want["names"] = 53
	for name, port := range want {
		if !out[port] {
			problems = append(problems, fmt.Sprintf("%s: may not reach port %d of %s", p, port, name))
		}
	}
	for _, port := range want {
		delete(out, port)
	}
	for _, pooler := range []int32{5432, 6432, 6543, 8443} { // beside the port that is made up here
		if _, has := env["DATABASE_URL"]; has || pooler == 8443 && env["SUPABASE_URL"] != "" {
			delete(out, pooler)
		}
	}
	for port := range out {
		problems = append(problems, fmt.Sprintf("%s: may reach port %d, and has no use for it", p, port))
	}
	return problems
}

// checkRoutes sends what the API serves through the routes, and what it does not serve.
func (c *checker) checkRoutes(o *objects) (problems []string) {
	matches := func(r route) bool {
		for _, h := range o.routes {
			for _, rule := range h.Spec.Rules {
				for _, m := range rule.Matches {
					path, err := regexp.Compile("^(?:" + *m.Path.Value + ")$")
					if err != nil || *m.Path.Type != gateway.PathMatchRegularExpression {
						problems = append(problems, fmt.Sprintf("HTTPRoute %s: %s %v", h.Name, *m.Path.Value, err))
						return false
					}
					if path.MatchString(r.path) && (m.Method == nil || string(*m.Method) == r.method) {
						return true
					}
				}
			}
		}
		return false
	}
	for _, r := range c.routes {
		if !matches(r) {
			problems = append(problems, fmt.Sprintf("no HTTPRoute sends %s %s to the API", r.method, r.path))
		}
	}
	for _, r := range []route{
		{"GET", "/api/courses"},
		{"GET", "/api/courses/1/videos"},
		{"GET", "/api/videos/1"},
		{"DELETE", "/api/videos/1"},
		{"GET", "/api/users/1/events"},
		{"GET", "/api/videos/1/transcriptions"},
		{"PUT", "/api/courses/1"},
	} {
		if matches(r) {
			problems = append(problems, fmt.Sprintf("%s %s is the API server's", r.method, r.path))
		}
	}
	for _, h := range o.routes {
		for _, rule := range h.Spec.Rules {
			for _, ref := range rule.BackendRefs {
				if !slices.ContainsFunc(o.services, func(s *core.Service) bool {
					return s.Name == string(ref.Name) && ref.Port != nil && slices.ContainsFunc(s.Spec.Ports, func(p core.ServicePort) bool { return p.Port == *ref.Port })
				}) {
					problems = append(problems, fmt.Sprintf("HTTPRoute %s leads to a Service %s that there is not", h.Name, ref.Name))
				}
			}
		}
	}
	return problems
}

// checkMonitors sees that each process is scraped, as a job that the alerts know.
func checkMonitors(o *objects, all []pod) (problems []string) {
	for _, p := range all {
		if p.kind == "Job" {
			continue
		}
		scraped := false
		for _, m := range o.monitors {
			for _, endpoint := range m.Spec.PodMetricsEndpoints {
				has := endpoint.Port != nil && slices.ContainsFunc(p.container().Ports, func(c core.ContainerPort) bool { return c.Name == *endpoint.Port })
				if !has || !selects(&m.Spec.Selector, p.labels) {
					continue
				}
				for _, relabel := range endpoint.RelabelConfigs {
					if relabel.TargetLabel == "job" && relabel.Replacement != nil && strings.HasPrefix(*relabel.Replacement, "vidflow") {
						scraped = true
					}
				}
			}
		}
		if !scraped {
			problems = append(problems, fmt.Sprintf("%s is not scraped as a job whose name begins with vidflow", p))
		}
	}
	return problems
}
