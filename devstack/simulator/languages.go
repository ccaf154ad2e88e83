package simulator

import "strings"

// language is what a speaker of it says, and how fast.
type language struct {
	tag   string // BCP 47
	share int    // of all speakers, relative to the others
	// stop ends a sentence, pause stands inside one; both stick to the word before.
	stop, pause string
	// space stands between words in a text.
	space string
	// runeTime is how long a character takes to say, in hundredths of a second.
	runeTime int64
	words    []string
}

// languages in several scripts, some of them with characters outside the first plane of Unicode's usual suspects:
// right to left, with combining marks, without spaces.
var languages = []language{
	{tag: "en", share: 30, stop: ".", pause: ",", space: " ", runeTime: 4, words: strings.Fields(`
		the of and to in that is we this function variable a when you value so returns list can it with for as an index
		loop through every element because computer memory program simple example today lecture understand question answer
		first second then algorithm sorting search binary tree graph node edge path number string object class method
		network server client request response database table row column query join important remember let's look at
		don't it's what how why where code write read run test change result error there here between before after until
		always never sometimes students course chapter exercise solution problem complexity time space recursive`)},
	{tag: "es", share: 9, stop: ".", pause: ",", space: " ", runeTime: 4, words: strings.Fields(`
		el la los las de que y en un una es por con para como esto cuando función variable valor lista porque entonces
		ejemplo clase hoy vamos a ver número código programa memoria ordenador algoritmo búsqueda árbol grafo nodo camino
		pregunta respuesta primero segundo después también más menos siempre nunca estudiante lección ejercicio solución
		problema complejidad tiempo espacio además según aquí allí qué cómo mañana año niño pequeño español corazón
		servidor cliente petición tabla consulta importante recordar escribir leer ejecutar prueba cambio resultado error`)},
	{tag: "fr", share: 9, stop: ".", pause: ",", space: " ", runeTime: 4, words: strings.Fields(`
		le la les de des et à en un une est que qui pour avec dans nous vous cette fonction variable valeur liste parce
		donc exemple cours aujourd'hui voyons nombre code programme mémoire ordinateur algorithme recherche arbre graphe
		nœud chemin question réponse premier deuxième après aussi plus moins toujours jamais étudiant leçon exercice
		solution problème complexité temps espace déjà où ça très peut-être élève être français l'erreur c'est d'abord
		serveur client requête tableau importante écrire lire exécuter essai changement résultat hôte naïve`)},
	{tag: "pt-BR", share: 5, stop: ".", pause: ",", space: " ", runeTime: 4, words: strings.Fields(`
		o a os as de que e em um uma é por com para como isto quando função variável valor lista porque então exemplo aula
		hoje vamos ver número código programa memória computador algoritmo busca árvore grafo nó caminho pergunta resposta
		primeiro segundo depois também mais menos sempre nunca estudante lição exercício solução problema não são você
		informação atenção coração amanhã avó irmã servidor cliente requisição tabela consulta importante lembrar`)},
	{tag: "sw", share: 10, stop: ".", pause: ",", space: " ", runeTime: 4, words: strings.Fields(`
		na ya wa kwa ni katika hii hiyo hapa leo tutajifunza somo mwanafunzi mwalimu programu kompyuta kumbukumbu namba
		orodha mfano swali jibu kwanza pili halafu pia zaidi kidogo daima kamwe tatizo suluhisho muda nafasi njia mti jina
		thamani kazi andika soma endesha jaribu badilisha matokeo kosa seva mteja ombi jedwali hifadhidata muhimu kumbuka
		kwa sababu wakati kila baada kabla mpaka ndani nje karibu asante tafadhali ndiyo hapana elimu chuo kitabu mtandao
		ufahamu mwisho mwanzo rahisi ngumu haraka polepole pamoja tofauti sawa kubwa ndogo nyingi chache`)},
	{tag: "ar", share: 8, stop: ".", pause: "،", space: " ", runeTime: 5, words: strings.Fields(`
		في من إلى على هذا هذه التي الذي كان يكون عندما دالة متغير قيمة قائمة لأن مثال اليوم محاضرة سوف نرى رقم برنامج
		ذاكرة حاسوب خوارزمية بحث شجرة رسم عقدة مسار سؤال جواب أولاً ثانياً ثم أيضاً أكثر أقل دائماً أبداً طالب درس تمرين
		حل مشكلة تعقيد وقت مساحة هنا هناك كيف لماذا أين اكتب اقرأ شغّل اختبر غيّر نتيجة خطأ خادم عميل طلب جدول استعلام
		مهم تذكّر لغة عربية كتاب مدرسة جامعة شبكة بيانات مُعلِّم نهاية بداية سهل صعب سريع بطيء معاً مختلف كبير صغير`)},
	{tag: "hi", share: 8, stop: "।", pause: ",", space: " ", runeTime: 5, words: strings.Fields(`
		में है और का की के से को यह वह जब तो फलन चर मान सूची क्योंकि उदाहरण आज व्याख्यान हम देखेंगे संख्या कार्यक्रम
		स्मृति संगणक एल्गोरिथ्म खोज वृक्ष ग्राफ नोड पथ प्रश्न उत्तर पहला दूसरा फिर भी अधिक कम हमेशा कभी नहीं विद्यार्थी
		पाठ अभ्यास हल समस्या जटिलता समय स्थान यहाँ वहाँ कैसे क्यों कहाँ लिखो पढ़ो चलाओ जाँच बदलो परिणाम त्रुटि सर्वर
		ग्राहक अनुरोध तालिका प्रश्नावली महत्वपूर्ण याद रखो भाषा हिन्दी पुस्तक विद्यालय विश्वविद्यालय जाल आँकड़े शिक्षक`)},
	{tag: "zh", share: 8, stop: "。", pause: ",", space: "", runeTime: 12, words: strings.Fields(`
		我们 你们 他们 这个 那个 函数 变量 数值 列表 因为 所以 例子 今天 课程 来看 数字 代码 程序 内存 计算机 算法 搜索 二叉树
		图 节点 路径 问题 答案 首先 其次 然后 也 更 较少 总是 从不 学生 课 练习 解法 难题 复杂度 时间 空间 这里 那里 怎么
		为什么 哪里 写 读 运行 测试 改变 结果 错误 服务器 客户端 请求 表格 查询 重要 记住 语言 中文 书 学校 大学 网络 数据
		老师 结束 开始 简单 困难 快 慢 一起 不同 大 小 很多 几个 的 了 是 在 和 有 不 人`)},
	{tag: "ru", share: 7, stop: ".", pause: ",", space: " ", runeTime: 4, words: strings.Fields(`
		в и на с по для это мы вы когда функция переменная значение список потому что пример сегодня лекция посмотрим число
		код программа память компьютер алгоритм поиск дерево граф узел путь вопрос ответ сначала потом также больше меньше
		всегда никогда студент урок упражнение решение задача сложность время пространство здесь там как почему где пиши
		читай запусти проверка изменение результат ошибка сервер клиент запрос таблица важно запомните язык русский книга
		школа университет сеть данные учитель конец начало просто трудно быстро медленно вместе ещё её объём`)},
	{tag: "am", share: 3, stop: "።", pause: "፣", space: " ", runeTime: 8, words: strings.Fields(`
		ይህ ያ እና ነው ውስጥ ላይ ዛሬ ትምህርት እንማራለን ተማሪ መምህር ፕሮግራም ኮምፒውተር ማስታወሻ ቁጥር ዝርዝር ምሳሌ ጥያቄ መልስ
		መጀመሪያ ሁለተኛ ከዚያ ደግሞ ብዙ ትንሽ ሁልጊዜ ችግር መፍትሄ ጊዜ ቦታ መንገድ ዛፍ ስም ዋጋ ሥራ ጻፍ አንብብ ሞክር ለውጥ ውጤት
		ስህተት ሰንጠረዥ አስፈላጊ አስታውስ ቋንቋ አማርኛ መጽሐፍ ዩኒቨርሲቲ መረብ መረጃ መጨረሻ ቀላል ከባድ ፈጣን አብሮ ልዩ ትልቅ`)},
	{tag: "yo", share: 3, stop: ".", pause: ",", space: " ", runeTime: 5, words: strings.Fields(`
		àti ní ti sí fún pẹ̀lú èyí ìyẹn nígbà tí iṣẹ́ iye àkójọ nítorí àpẹẹrẹ òní ẹ̀kọ́ a ó wo nọ́mbà ètò ìrántí kọ̀ǹpútà
		ìwárí igi ọ̀nà ìbéèrè ìdáhùn àkọ́kọ́ èkejì lẹ́yìn náà púpọ̀ díẹ̀ nígbàgbogbo akẹ́kọ̀ọ́ olùkọ́ ìṣòro ojútùú àkókò
		àyè níbí níbẹ̀ báwo kí ló dé kọ kà dán wò yí padà àbájáde àṣìṣe tábìlì pàtàkì rántí èdè Yorùbá ìwé ilé-ẹ̀kọ́
		yunifásítì dátà òpin ìbẹ̀rẹ̀ rọrùn le yára pọ̀ yàtọ̀ ńlá kékeré`)},
}
