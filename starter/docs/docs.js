'use strict';

// Renders openapi.json, and sends requests by its forms. Everything from the document is put in as text, never as HTML.

const el = (tag, props = {}, ...children) => {
  const node = Object.assign(document.createElement(tag), props);
  node.append(...children.filter((c) => c !== null && c !== undefined && c !== ''));
  return node;
};

const token = document.getElementById('token');
token.value = sessionStorage.getItem('token') || '';
token.form.addEventListener('submit', (event) => event.preventDefault());
token.addEventListener('input', () => sessionStorage.setItem('token', token.value.trim()));

fetch('openapi.json').then((r) => r.json()).then(show, (err) => {
  document.getElementById('operations').append(el('p', { textContent: `openapi.json could not be read: ${err}` }));
});

let doc;

function show(openapi) {
  doc = openapi;
  document.getElementById('version').textContent = doc.info.version;
  document.getElementById('about').textContent = doc.info.description;
  const main = document.getElementById('operations');
  main.replaceChildren();
  const byTag = new Map([...doc.tags.map((t) => [t.name, []]), ['other', []]]);
  for (const [path, methods] of Object.entries(doc.paths)) {
    for (const [method, op] of Object.entries(methods)) {
      byTag.get((op.tags || ['other'])[0]).push({ path, method, op });
    }
  }
  for (const [tag, operations] of byTag) {
    if (!operations.length) continue;
    const about = doc.tags.find((t) => t.name === tag);
    main.append(el('section', {},
      el('h2', { textContent: tag }), about ? el('p', { textContent: about.description }) : null, ...operations.map(operation)));
  }
  const linked = document.getElementById(location.hash.slice(1)); // openapi's operationId
  if (linked) {
    linked.open = true;
    linked.scrollIntoView();
  }
}

function operation({ path, method, op }) {
  const form = el('form');
  const inputs = [];
  const params = op.parameters || [];
  if (params.length) {
    form.append(el('h4', { textContent: 'Parameters' }), el('table', {}, el('tbody', {}, ...params.map((p) => {
      const input = p.schema.enum ? choice(p.schema.enum) : el('input', { placeholder: example(p.schema) ?? '' });
      input.setAttribute('aria-label', p.name);
      inputs.push({ p, input });
      return el('tr', {},
        el('td', {}, el('code', { textContent: p.name }), el('br'), el('span', { className: 'hint', textContent: p.in + (p.required ? ', required' : '') })),
        el('td', {}, input, el('span', { className: 'hint', textContent: p.description || describe(p.schema) })));
    }))));
  }
  let body = null;
  const content = op.requestBody && op.requestBody.content['application/json'];
  if (content) {
    const given = content.examples && Object.values(content.examples)[0];
    body = el('textarea', { spellcheck: false, value: JSON.stringify(given ? given.value : sample(content.schema), null, 2) });
    body.setAttribute('aria-label', 'body');
    form.append(el('h4', { textContent: 'Body' }), body, el('details', {}, el('summary', { textContent: 'Its members' }), schema(content.schema)));
  }
  const result = el('div');
  form.append(el('button', { textContent: 'Send' }), result);
  form.addEventListener('submit', (event) => {
    event.preventDefault();
    send(path, method, inputs, body, result);
  });
  return el('details', { className: 'operation', id: op.operationId },
    el('summary', {},
      el('span', { className: `method ${method}`, textContent: method.toUpperCase() }),
      el('span', { className: 'path', textContent: path }),
      el('span', { className: 'summary', textContent: op.summary || '' })),
    el('div', {}, op.description ? el('p', { textContent: op.description }) : null, form, el('h4', { textContent: 'Answers' }), answers(op)));
}

function choice(values) {
  return el('select', {}, ...['', ...values].map((v) => el('option', { value: v, textContent: v })));
}

function answers(op) {
  return el('table', {}, el('tbody', {}, ...Object.entries(op.responses).map(([status, r]) => {
    const media = Object.values(r.content || {})[0];
    return el('tr', {},
      el('td', { textContent: status }),
      el('td', {}, r.description, media ? el('details', {}, el('summary', { textContent: 'Its members' }), schema(media.schema)) : null,
        ...Object.entries(r.headers || {}).map(([name, h]) =>
          el('div', {}, el('code', { textContent: name }), el('span', { className: 'hint', textContent: ` ${h.description || (h.schema && h.schema.description) || ''}` })))));
  })));
}

async function send(path, method, inputs, body, result) {
  const headers = {};
  const query = new URLSearchParams();
  for (const { p, input } of inputs) {
    const value = input.value.trim();
    if (p.in === 'path') path = path.replace(`{${p.name}}`, encodeURIComponent(value));
    else if (value && p.in === 'query') query.set(p.name, value);
    else if (value && p.in === 'header') headers[p.name] = value;
  }
  if (body) headers['Content-Type'] = 'application/json';
  if (token.value.trim()) headers.Authorization = `Bearer ${token.value.trim()}`;
  const address = new URL('..' + path, location.href.replace(/docs\/?$/, 'docs'));
  address.search = query;
  result.replaceChildren('…');
  try {
    const began = performance.now();
    const r = await fetch(address, { method: method.toUpperCase(), headers, body: body ? body.value : undefined });
    const text = await r.text();
    const took = Math.round(performance.now() - began);
    let shown = text;
    try { shown = JSON.stringify(JSON.parse(text), null, 2); } catch { /* not JSON: as it is */ }
    result.replaceChildren(
      el('p', { className: 'status', textContent: `${r.status} ${r.statusText} (${took} ms)` }),
      el('pre', { textContent: [...r.headers].map(([k, v]) => `${k}: ${v}`).join('\n') }),
      shown ? el('pre', { textContent: shown }) : '');
  } catch (err) {
    result.replaceChildren(el('p', { textContent: `The request failed: ${err}` }));
  }
}

function resolve(s) {
  if (s && s.$ref) return doc.components.schemas[s.$ref.split('/').pop()];
  if (s && s.anyOf && s.anyOf.length === 2 && s.anyOf[1].type === 'null') { // an object, or null where there is none
    const of = resolve(s.anyOf[0]);
    return { ...of, type: [...types(of), 'null'] };
  }
  return s;
}

const types = (s) => [s.type || 'any'].flat();

function describe(s) {
  s = resolve(s);
  const parts = [types(s).join(' or ')];
  if (s.format) parts.push(s.format);
  if (s.enum) parts.push(s.enum.join(' | '));
  if (s.minLength !== undefined || s.maxLength !== undefined) parts.push(`${s.minLength ?? 0} to ${s.maxLength ?? 'any number of'} characters`);
  if (s.minimum !== undefined) parts.push(`from ${s.minimum}`);
  if (s.maximum !== undefined) parts.push(`up to ${s.maximum}`);
  return parts.join(', ');
}

function schema(s) {
  s = resolve(s);
  if (s.anyOf) return el('div', {}, ...s.anyOf.flatMap((o) => [el('p', { textContent: `${o.title || ''}: ${o.description || ''}` }), schema(o)]));
  if (s.items) return schema(s.items);
  return el('ul', { className: 'schema' }, ...Object.entries(s.properties || {}).map(([name, p]) => {
    const of = resolve(p);
    return el('li', {}, el('code', { textContent: name }), ' ',
      el('span', { className: 'type', textContent: describe(p) + ((s.required || []).includes(name) ? '' : ', optional') }),
      p.description ? ` ${p.description}` : null,
      of.properties || of.items ? schema(p) : null);
  }));
}

const example = (s) => (s.examples ? s.examples[0] : s.default);

function sample(s) {
  s = resolve(s);
  if (example(s) !== undefined) return example(s);
  if (s.enum) return s.enum[0];
  if (s.properties) {
    const names = s.required || Object.keys(s.properties);
    return Object.fromEntries(names.map((n) => [n, sample(s.properties[n])]));
  }
  return { boolean: false, integer: 0, number: 0, array: [] }[types(s)[0]] ?? '';
}
