@extends('layouts.app')

<h1>ダッシュボード</h1>
