// Package attributes finds out which of the workflow's search attributes a namespace has, also of a server that does not
// let everybody ask.
package attributes

import (
	"context"
	"fmt"
	"strings"

	enumspb "go.temporal.io/api/enums/v1"
	"go.temporal.io/api/operatorservice/v1"
	"go.temporal.io/api/workflowservice/v1"
	"go.temporal.io/sdk/client"
	"go.temporal.io/sdk/temporal"

	"github.com/codeendelea/vidflow/workflows"
)

// WrongTypeError is an attribute that exists with another type. Nothing but a person can mend it.
type WrongTypeError struct {
	Namespace, Name string
	Got, Want       enumspb.IndexedValueType
}

func (e *WrongTypeError) Error() string {
	return fmt.Sprintf("search attribute %s exists with type %s, and %s is wanted; remove it with `temporal operator "+
		"search-attribute remove --namespace %s --name %s`, or use another namespace", e.Name, e.Got, e.Want, e.Namespace, e.Name)
}

// Missing are those of workflows.SearchAttributes that the namespace does not have. An error is a *WrongTypeError, or says
// why nobody can tell.
func Missing(ctx context.Context, c client.Client, namespace string) ([]temporal.SearchAttributeKey, error) {
	have, err := custom(ctx, c, namespace)
	if err != nil {
		return nil, err
	}
	var missing []temporal.SearchAttributeKey
	for _, key := range workflows.SearchAttributes() {
		switch got, ok := have[key.GetName()]; {
		case !ok:
			missing = append(missing, key)
		case got != key.GetValueType():
			return nil, &WrongTypeError{Namespace: namespace, Name: key.GetName(), Got: got, Want: key.GetValueType()}
		}
	}
	return missing, nil
}

// custom are the attributes that somebody made, with their types. Who may not ask the operator's service for them, as it can
// be on Temporal Cloud, finds them in the description of the namespace.
func custom(ctx context.Context, c client.Client, namespace string) (map[string]enumspb.IndexedValueType, error) {
	list, err := c.OperatorService().ListSearchAttributes(ctx, &operatorservice.ListSearchAttributesRequest{Namespace: namespace})
	if err == nil {
		return list.GetCustomAttributes(), nil
	}
	described, descriptionErr := c.WorkflowService().DescribeNamespace(ctx, &workflowservice.DescribeNamespaceRequest{Namespace: namespace})
	aliases := described.GetConfig().GetCustomSearchAttributeAliases()
	if descriptionErr != nil || len(aliases) == 0 { // there may be some all the same: not every store needs aliases
		return nil, fmt.Errorf("list the search attributes of namespace %s: %w", namespace, err)
	}
	have := map[string]enumspb.IndexedValueType{}
	for field, name := range aliases {
		// A field is called by its type and a number: KeywordList01.
		if kind, err := enumspb.IndexedValueTypeFromString(strings.TrimRight(field, "0123456789")); err == nil {
			have[name] = kind
		}
	}
	return have, nil
}
